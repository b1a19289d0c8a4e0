import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of groups that are Kafka's own consumers, many in one process. Each polls, tells what it got, commits that,
 * and polls again.
 *
 * <p>Commands and events are lines of fields separated by tabs; a member is named by its test, and its events come in
 * order. TIME is in milliseconds since 1970. The process ends with its input.
 *
 * <pre>
 * start NAME BOOTSTRAP TOPICS [PROPERTY...]     TOPICS: comma separated, or a pattern if it starts with ^
 * stop  NAME                                    closes it
 *
 * assigned NAME TIME PARTITION...               TIME: from then on it is its owner; PARTITION: topic-number
 * revoked  NAME TIME PARTITION...               TIME: up to then it was
 * lost     NAME TIME PARTITION...
 * records  NAME PARTITION OFFSET...             in the order of their delivery
 * failed   NAME REASON                          it has ended by itself
 * stopped  NAME
 * </pre>
 */
public final class Members {
    private static final Duration POLL = Duration.ofMillis(100);

    private final PrintStream out;
    private final Map<String, Member> members = new HashMap<>();

    private Members(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) throws IOException {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        // What a library prints must not end up among the events.
        System.setOut(System.err);
        var members = new Members(out);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            members.run(line.split("\t", -1));
        }
        Runtime.getRuntime().halt(0);
    }

    private void run(String[] command) {
        switch (command[0]) {
            case "start" -> {
                var member = new Member(command);
                members.put(command[1], member);
                member.start();
            }
            case "stop" -> members.remove(command[1]).stopped = true;
            default -> throw new IllegalArgumentException("unknown command " + command[0]);
        }
    }

    private void tell(String event, String name, Collection<?> more) {
        var line = new StringBuilder(event).append('\t').append(name);
        for (Object field : more) {
            line.append('\t').append(field);
        }
        synchronized (out) {
            out.append(line).append('\n');
            out.flush();
        }
    }

    private final class Member extends Thread implements ConsumerRebalanceListener {
        private final String name;
        private final String topics;
        private final Properties config = new Properties();
        private KafkaConsumer<byte[], byte[]> consumer;
        volatile boolean stopped;

        Member(String[] command) {
            super(command[1]);
            name = command[1];
            topics = command[3];
            config.put("bootstrap.servers", command[2]);
            config.put("enable.auto.commit", "false");
            for (int i = 4; i < command.length; i++) {
                int equals = command[i].indexOf('=');
                config.put(command[i].substring(0, equals), command[i].substring(equals + 1));
            }
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                try {
                    consume();
                } catch (Exception e) {
                    // Why it ends is what matters, not that it cannot leave in order then.
                    closeQuietly();
                    throw e;
                }
                consumer.close();
                tell("stopped", name, List.of());
            } catch (Exception e) {
                e.printStackTrace();
                tell("failed", name, List.of(e.toString().replaceAll("\\s+", " ")));
            }
        }

        private void closeQuietly() {
            try {
                consumer.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }

        private void consume() {
            if (topics.startsWith("^")) {
                consumer.subscribe(Pattern.compile(topics), this);
            } else {
                consumer.subscribe(List.of(topics.split(",")), this);
            }
            // It ends when everything is committed: while it joins anew, that has to wait.
            for (boolean committed = true; !stopped || !committed;) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(POLL);
                deliver(records);
                if (!records.isEmpty() || !committed) {
                    committed = commit();
                }
            }
        }

        private void deliver(ConsumerRecords<byte[], byte[]> records) {
            for (TopicPartition partition : records.partitions()) {
                var line = new StringBuilder(partition.toString());
                records.records(partition).forEach(record -> line.append('\t').append(record.offset()));
                tell("records", name, List.of(line));
            }
        }

        /** Whether no rebalance got in the way; if one did, it is made up for later, or the partitions are lost. */
        private boolean commit() {
            try {
                consumer.commitSync();
                return true;
            } catch (RebalanceInProgressException | CommitFailedException e) {
                System.err.println(name + ": " + e);
                return false;
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            moved("assigned", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!partitions.isEmpty()) {
                commit();
            }
            moved("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            moved("lost", partitions);
        }

        private void moved(String event, Collection<TopicPartition> partitions) {
            var line = new StringBuilder().append(System.currentTimeMillis());
            partitions.forEach(partition -> line.append('\t').append(partition));
            tell(event, name, List.of(line));
        }
    }
}
