import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs a server for a test: {@code Node CLASS FILE [CLUSTER_ID [OPTION...]]} runs the main method of the class with the
 * file of its properties. With a cluster id, a Kafka node's storage is formatted first, with these options of the tool
 * for that, and in the same process, which saves the start of another.
 *
 * <p>The server lives as long as its standard input is open, so it ends with the process that started it however that
 * one ends; ordinarily it is stopped by a signal before.
 */
public final class Node {
    private static final class Exited extends RuntimeException {
        private static final long serialVersionUID = 1;

        final int status;

        Exited(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    public static void main(String[] args) throws ReflectiveOperationException {
        haltAtEndOfInput();
        String[] file = {args[1]};
        if (args.length > 2) {
            format(args[1], Arrays.copyOfRange(args, 2, args.length));
        }
        Class.forName(args[0]).getMethod("main", String[].class).invoke(null, (Object) file);
    }

    private static void haltAtEndOfInput() {
        Thread leash = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is ever sent: only the end matters.
                }
            } catch (IOException e) {
                System.err.println("Reading standard input failed: " + e);
            }
            Runtime.getRuntime().halt(1);
        });
        leash.setDaemon(true);
        leash.start();
    }

    /** The tool ends its process when it is done; here it must only end itself. */
    private static void format(String properties, String[] more) {
        Exit.setExitProcedure((status, message) -> {
            throw new Exited(status, message);
        });
        try {
            var arguments = new ArrayList<>(List.of("format", "-c", properties, "-t"));
            arguments.addAll(List.of(more));
            kafka.tools.StorageTool.main(arguments.toArray(new String[0]));
        } catch (Exited exited) {
            if (exited.status != 0) {
                System.err.println("Formatting failed: " + exited.getMessage());
                Runtime.getRuntime().halt(exited.status);
            }
        } finally {
            Exit.resetExitProcedure();
        }
    }
}
