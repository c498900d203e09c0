import java.net.Authenticator;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Requests a token by Basic only when the server challenges it. Arguments: token endpoint, client ID, client secret. */
class TokenRequest {
  public static void main(String[] args) throws Exception {
    var authenticator = new Authenticator() {
      @Override
      protected PasswordAuthentication getPasswordAuthentication() {
        return new PasswordAuthentication(args[1], args[2].toCharArray());
      }
    };
    var client = HttpClient.newBuilder().authenticator(authenticator).build();
    var request = HttpRequest.newBuilder(URI.create(args[0]))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .POST(BodyPublishers.ofString("grant_type=client_credentials"))
        .build();
    System.out.println(client.send(request, BodyHandlers.ofString()).body());
  }
}
