/** The program of jetcd, Java's client: every client that it offers, on the members that it is told of. */
public final class Main {
  public static void main(String[] arguments) throws Exception {
    Data.checks();
    Watches.checks();
    Leases.checks();
    Turns.checks();
    Operations.checks();
    Access.checks();
    Check.runAll();
  }
}
