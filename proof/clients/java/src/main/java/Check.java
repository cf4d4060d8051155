import static java.nio.charset.StandardCharsets.UTF_8;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.ClientBuilder;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.Socket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * What a check is. What is printed is read by ../src/report.rs, and what is found in the environment is told in
 * ../src/field.rs.
 */
final class Check {
  /** How long something that must come true may take, on a slow and busy machine. */
  static final Duration PATIENCE = Duration.ofSeconds(30);

  static final List<String> ENDPOINTS = List.of(System.getenv("CLIENTS_ENDPOINTS").split(","));

  interface Body {
    void run() throws Exception;
  }

  private record Claim(String name, Body body) {}

  private static final List<Claim> CLAIMS = new ArrayList<>();

  static void check(String name, Body body) {
    CLAIMS.add(new Claim(name, body));
  }

  static ByteSequence bytes(String text) {
    return ByteSequence.from(text, UTF_8);
  }

  static ClientBuilder builder(String... endpoints) throws Exception {
    ClientBuilder builder = Client.builder().endpoints(endpoints).connectTimeout(Duration.ofSeconds(10));
    String ca = System.getenv("CLIENTS_CA");
    if (ca != null) {
      File cert = new File(System.getenv("CLIENTS_CERT"));
      File key = new File(System.getenv("CLIENTS_KEY"));
      builder.sslContext(ssl -> ssl.trustManager(new File(ca)).keyManager(cert, key));
    }
    return builder;
  }

  static Client client(String... endpoints) throws Exception {
    return builder(endpoints.length > 0 ? endpoints : ENDPOINTS.toArray(new String[0])).build();
  }

  /** The client of a user: of one member, because a token may be younger than what another has applied. */
  static Client as(String user, String password) throws Exception {
    return builder(ENDPOINTS.get(0)).user(bytes(user)).password(bytes(password)).build();
  }

  static <T> T get(CompletableFuture<T> answer) throws Exception {
    try {
      return answer.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException failed) {
      throw failed.getCause() instanceof Exception cause ? cause : failed;
    }
  }

  static void same(String what, Object got, Object wanted) {
    if (!Objects.equals(got, wanted)) {
      throw new AssertionError(what + ": wanted " + wanted + ", got " + got);
    }
  }

  static void holds(String what, boolean truth) {
    if (!truth) {
      throw new AssertionError(what);
    }
  }

  static void eventually(String what, Callable<Boolean> ask) throws Exception {
    for (long until = System.nanoTime() + PATIENCE.toNanos(); System.nanoTime() < until; Thread.sleep(10)) {
      if (ask.call()) {
        return;
      }
    }
    throw new AssertionError("not within " + PATIENCE + ": " + what);
  }

  /** The call must fail, with one of these words. */
  static Throwable refused(String what, Callable<?> call, String... words) {
    Object answer;
    try {
      answer = call.call();
    } catch (Exception error) {
      String said = String.valueOf(error);
      if (Arrays.stream(words).noneMatch(said::contains)) {
        throw new AssertionError(what + ": wanted one of " + Arrays.toString(words) + ", got " + said);
      }
      return error;
    }
    throw new AssertionError(what + ": wanted a refusal, got " + answer);
  }

  /** Kills or starts a member: `kill 2`, `start 2`. */
  static void control(String line) throws Exception {
    String[] at = System.getenv("CLIENTS_CONTROL").split(":");
    try (Socket stream = new Socket(at[0], Integer.parseInt(at[1]))) {
      stream.getOutputStream().write((line + "\n").getBytes(UTF_8));
      same(line, new BufferedReader(new InputStreamReader(stream.getInputStream(), UTF_8)).readLine(), "ok");
    }
  }

  static void runAll() {
    String[] notYetBeginnings = Objects.requireNonNullElse(System.getenv("CLIENTS_NOT_YET"), "").split(",");
    int passed = 0;
    int failed = 0;
    int notYet = 0;
    for (Claim claim : CLAIMS) {
      if (Arrays.stream(notYetBeginnings).anyMatch(word -> !word.isEmpty() && claim.name.startsWith(word))) {
        notYet++;
        System.out.println("not yet " + claim.name);
        continue;
      }
      long begin = System.nanoTime();
      try {
        claim.body.run();
        passed++;
        System.out.println("ok " + claim.name);
      } catch (Exception | AssertionError error) {
        failed++;
        error.printStackTrace();
        System.out.println("FAILED " + claim.name + ": " + String.valueOf(error).replace('\n', ' '));
      }
      System.err.printf("%6d ms  %s%n", (System.nanoTime() - begin) / 1_000_000, claim.name);
    }
    System.out.printf("%d passed, %d failed, %d not yet%n", passed, failed, notYet);
    System.out.flush();
    // The client's threads may go on for ever.
    Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
  }
}
