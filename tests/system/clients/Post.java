import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;

/** POSTs stdin: Post connection|client|following URL NAME VALUE [NAME VALUE]... */
public class Post {
    public static void main(String[] arguments) throws Exception {
        byte[] body = System.in.readAllBytes();
        switch (arguments[0]) {
            case "connection" -> withConnection(arguments, body);
            case "client" -> withClient(HttpClient.newHttpClient(), arguments, body);
            default -> withClient(HttpClient.newBuilder()
                    .followRedirects(HttpClient.Redirect.NORMAL).build(), arguments, body);
        }
    }

    private static void withConnection(String[] arguments, byte[] body) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(arguments[1]).openConnection();
        connection.setRequestMethod("POST");
        for (int i = 2; i + 1 < arguments.length; i += 2) {
            connection.setRequestProperty(arguments[i], arguments[i + 1]);
        }
        connection.setDoOutput(true);
        connection.getOutputStream().write(body);
        int status = connection.getResponseCode();
        try (InputStream stream = status < 400 ? connection.getInputStream()
                : connection.getErrorStream()) {
            print(status, new String(stream.readAllBytes(), StandardCharsets.UTF_8));
        }
    }

    private static void withClient(HttpClient client, String[] arguments, byte[] body)
            throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[1]))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body));
        for (int i = 2; i + 1 < arguments.length; i += 2) {
            request.header(arguments[i], arguments[i + 1]);
        }
        HttpResponse<String> reply =
                client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        print(reply.statusCode(), reply.body());
    }

    private static void print(int status, String body) {
        byte[] bytes = (status + "\n" + body).getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }
}
