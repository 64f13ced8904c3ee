#include "front_fixture.h"

static void begin(struct http_request *request, size_t bytes)
{
    static const struct header type = {{"Content-Type", 12}, {"application/json", 16}};
    http_request_begin_reply(
        request, &(struct http_reply){.status = 200, .headers = {&type, 1}}, bytes);
}

TEST(http_front_beats, the_head_and_the_first_blank_go_out_at_once)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    begin(f.waiting[0], 40);
    BUF(in, 4096);
    UNTIL(&f, (client_receive(fd, &in), strstr(buf_text(&in), "\r\n\r\n ")));
    http_request_beat(f.waiting[0]);
    rounds_for(&f, 50);
    http_request_beat(f.waiting[0]);
    rounds_for(&f, 50);
    struct blob *blob = blob_new(SPAN("{\"a\":1}"));
    assert_int_equal(http_request_finish_reply(f.waiting[0], blob), OK);
    blob_free(blob);
    UNTIL(&f, f.ended == 1);
    client_receive(fd, &in);
    print_message("%s|\n%s\n", buf_text(&in), buf_text(&f.log));
    close(fd);
}
