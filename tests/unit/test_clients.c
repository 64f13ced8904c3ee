#include "test.h"

#include "core/clients.h"

/* SHA-256 of "abc" and of "" (FIPS 180-2, appendix B.1, and its test vectors). */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define NIL "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

TEST(clients, a_token_finds_its_client)
{
    struct config_client clients[2] = {{.name = SPAN("nil")}, {.name = SPAN("abc")}};
    struct config config = {.clients = clients, .client_count = 2};
    const struct config_client *found = NULL;
    assert_true(digest_from_hex(SPAN(NIL), &clients[0].token_sha256));
    assert_true(digest_from_hex(SPAN(ABC), &clients[1].token_sha256));
    assert_int_equal(clients_find(&config, SPAN("abc"), &found), OK);
    assert_ptr_equal(found, &clients[1]);
    assert_int_equal(clients_find(&config, SPAN(""), &found), OK);
    assert_ptr_equal(found, &clients[0]);
}

TEST(clients, an_unknown_token_finds_nobody_and_leaves_ret_alone)
{
    struct config_client client = {.name = SPAN("abc")};
    struct config config = {.clients = &client, .client_count = 1};
    const struct config_client *found = &client;
    assert_true(digest_from_hex(SPAN(ABC), &client.token_sha256));
    assert_int_equal(clients_find(&config, SPAN("abd"), &found), E_NOT_FOUND);
    assert_int_equal(clients_find(&config, SPAN("ABC"), &found), E_NOT_FOUND);
    assert_int_equal(clients_find(&config, SPAN(ABC), &found), E_NOT_FOUND);
    config.client_count = 0;
    assert_int_equal(clients_find(&config, SPAN("abc"), &found), E_NOT_FOUND);
    assert_ptr_equal(found, &client);
}
