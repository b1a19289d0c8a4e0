import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own clients behind a line protocol, so that a test drives them from one warm process.
 *
 * <p>A command is one line of fields separated by tabs; bytes are hexadecimal and null is {@code -}. It is answered by
 * lines of rows, each starting with {@code row}, and then one line {@code ok}, or {@code error} with a reason.
 * Properties of the client are the last fields of a command, as {@code name=value}. The process ends with its input.
 *
 * <pre>
 * create   BOOTSTRAP TOPIC PARTITIONS REPLICATION [CONFIG...]
 * describe BOOTSTRAP TOPIC [PROPERTY...]                      row: partition leader replicas isr (comma separated ids)
 * produce  BOOTSTRAP TOPIC COUNT [PROPERTY...]                row: partition offset
 *          then COUNT lines: partition (-1: as it falls) timestamp key value [header-key header-value]...
 * consume  BOOTSTRAP TOPIC PARTITION OFFSET [PROPERTY...]     row: offset timestamp-type leader-epoch, then as produced
 * skim     BOOTSTRAP TOPIC PARTITION OFFSET [PROPERTY...]     row: offset key head-of-value length-of-value crc32c-of-value
 * delete   BOOTSTRAP TOPIC
 * quota    BOOTSTRAP CLIENT BYTES_PER_SECOND                  for producers of that client id, on each broker
 * assign   ASSIGNOR TOPICS MEMBERS                            row: member assignment
 *          then TOPICS lines: topic [racks (comma separated) of each partition]...
 *          then MEMBERS lines: member instance (or nothing) subscription
 * userdata GENERATION ASSIGNMENT                              row: what the sticky assignor makes of it
 * member   NAME BOOTSTRAP TOPIC [PROPERTY...]                 a consumer that subscribes, and polls until it is to leave
 * seen     NAME                                               row: partition offset value, since it was last asked
 * leave    NAME                                               closes it
 * script   BOOTSTRAP TOPIC COUNT [PROPERTY...]                writes in the order of the COUNT lines that follow:
 *          begin, commit, abort or close, and ID; or send, ID and a record as for produce. ID is a transactional.id, or
 *          - for a producer without transactions. Producers live on until they are closed.
 * end      BOOTSTRAP TOPIC PARTITION [PROPERTY...]            row: end position-after-reading-to-it
 * grow     BOOTSTRAP TOPIC PARTITIONS
 * committed   BOOTSTRAP GROUP                                 row: topic partition offset leader-epoch metadata
 * coordinator BOOTSTRAP GROUP                                 row: broker
 * </pre>
 */
public final class Oracle {
    private static final long PATIENCE_MS = 30_000;
    /** What is told of a large value, beside its length and checksum. */
    private static final int HEAD = 8;
    private static final HexFormat HEX = HexFormat.of();

    private final BufferedReader in;
    private final PrintStream out;
    private final Map<String, Member> members = new HashMap<>();
    /** By their bootstrap servers. */
    private final Map<String, Transactions> transactions = new HashMap<>();

    private Oracle(BufferedReader in, PrintStream out) {
        this.in = in;
        this.out = out;
    }

    public static void main(String[] args) throws IOException {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        // What a library prints must not end up among the answers.
        System.setOut(System.err);
        new Oracle(in, out).serve();
    }

    private void serve() throws IOException {
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                run(line.split("\t", -1));
                out.print("ok\n");
            } catch (Exception e) {
                e.printStackTrace();
                Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
                out.print("error\t" + cause.toString().replaceAll("\\s+", " ") + "\n");
            }
            out.flush();
        }
    }

    private void run(String[] command) throws Exception {
        switch (command[0]) {
            case "create" -> create(command);
            case "describe" -> describe(command);
            case "produce" -> produce(command);
            case "consume" -> consume(command, Oracle::fields);
            case "skim" -> consume(command, Oracle::skimmed);
            case "delete" -> delete(command);
            case "quota" -> quota(command);
            case "assign" -> assign(command);
            case "userdata" -> userData(command);
            case "member" -> member(command);
            case "seen" -> seen(command);
            case "leave" -> leave(command);
            case "script" -> script(command);
            case "end" -> end(command);
            case "grow" -> grow(command);
            case "committed" -> committed(command);
            case "coordinator" -> coordinator(command);
            default -> throw new IllegalArgumentException("unknown command " + command[0]);
        }
    }

    /** Creates a topic and returns when every partition has a leader that serves it. */
    private void create(String[] command) throws Exception {
        String bootstrap = command[1];
        String topic = command[2];
        int partitions = Integer.parseInt(command[3]);
        var created = new NewTopic(topic, partitions, Short.parseShort(command[4]));
        try (Admin admin = Admin.create(client(bootstrap, Map.of()))) {
            admin.createTopics(List.of(created.configs(pairs(command, 5)))).all().get();
        }
        try (var consumer = consumer(bootstrap, Map.of())) {
            long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
            while (!led(consumer.partitionsFor(topic), partitions)) {
                if (System.nanoTime() - deadline > 0) {
                    throw new IllegalStateException("no leader for each partition of " + topic);
                }
                Thread.sleep(20);
            }
            // A leader by the metadata may refuse for a moment yet. Java's producer must not meet that: if the first of
            // its batches is refused so and the next is not, a broker that knows nothing of the producer takes that one
            // for the first, and the producer gets OUT_OF_ORDER_SEQUENCE_NUMBER for the other until it gives up.
            var all = new ArrayList<TopicPartition>();
            for (int i = 0; i < partitions; i++) {
                all.add(new TopicPartition(topic, i));
            }
            consumer.endOffsets(all);
        }
    }

    /** Deletes a topic and returns when the cluster knows it no more. */
    private void delete(String[] command) throws Exception {
        try (Admin admin = Admin.create(client(command[1], Map.of()))) {
            admin.deleteTopics(List.of(command[2])).all().get();
        }
        try (var consumer = consumer(command[1], Map.of())) {
            long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
            while (!isEmpty(consumer.partitionsFor(command[2]))) {
                if (System.nanoTime() - deadline > 0) {
                    throw new IllegalStateException(command[2] + " is deleted and still there");
                }
                Thread.sleep(20);
            }
        }
    }

    private static boolean isEmpty(List<PartitionInfo> infos) {
        return infos == null || infos.isEmpty();
    }

    private void quota(String[] command) throws Exception {
        var client = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, command[2]));
        var rate = new ClientQuotaAlteration.Op("producer_byte_rate", Double.valueOf(command[3]));
        try (Admin admin = Admin.create(client(command[1], Map.of()))) {
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(client, List.of(rate)))).all().get();
        }
    }

    private void assign(String[] command) throws IOException {
        var nodes = new HashMap<String, Node>();
        var infos = new ArrayList<PartitionInfo>();
        for (int i = Integer.parseInt(command[2]); i > 0; i--) {
            String[] topic = in.readLine().split("\t", -1);
            for (int partition = 1; partition < topic.length; partition++) {
                Node[] replicas = Arrays.stream(topic[partition].split(","))
                        .filter(rack -> !rack.isEmpty())
                        .map(rack -> nodes.computeIfAbsent(rack, name -> new Node(nodes.size(), "host", 1, name)))
                        .toArray(Node[]::new);
                infos.add(new PartitionInfo(topic[0], partition - 1, Node.noNode(), replicas, replicas));
            }
        }
        var subscriptions = new HashMap<String, ConsumerPartitionAssignor.Subscription>();
        for (int i = Integer.parseInt(command[3]); i > 0; i--) {
            String[] member = in.readLine().split("\t", -1);
            var subscription = ConsumerProtocol.deserializeSubscription(ByteBuffer.wrap(HEX.parseHex(member[2])));
            subscription.setGroupInstanceId(Optional.of(member[1]).filter(name -> !name.isEmpty()));
            subscriptions.put(member[0], subscription);
        }
        var cluster = new Cluster("cluster", nodes.values(), infos, Set.of(), Set.of());
        var group = new ConsumerPartitionAssignor.GroupSubscription(subscriptions);
        assignor(command[1]).assign(cluster, group).groupAssignment().forEach((member, assignment) -> {
            row(member, HEX.formatHex(rest(ConsumerProtocol.serializeAssignment(assignment))));
        });
    }

    /** They have a state, so each group gets its own. */
    private static ConsumerPartitionAssignor assignor(String name) {
        return switch (name) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            case "cooperative-sticky" -> new CooperativeStickyAssignor();
            default -> throw new IllegalArgumentException("unknown assignor " + name);
        };
    }

    private void userData(String[] command) {
        var assignor = new StickyAssignor();
        var assignment = ConsumerProtocol.deserializeAssignment(ByteBuffer.wrap(HEX.parseHex(command[2])));
        var generation = Integer.parseInt(command[1]);
        assignor.onAssignment(assignment, new ConsumerGroupMetadata("group", generation, "member", Optional.empty()));
        row(HEX.formatHex(rest(assignor.subscriptionUserData(Set.of()))));
    }

    private static byte[] rest(ByteBuffer buffer) {
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private void script(String[] command) throws Exception {
        String topic = command[2];
        var lines = new ArrayList<String[]>();
        for (int i = Integer.parseInt(command[3]); i > 0; i--) {
            lines.add(in.readLine().split("\t", -1));
        }
        var writers = transactions.computeIfAbsent(
                command[1], bootstrap -> new Transactions(client(bootstrap, pairs(command, 4))));
        for (String[] line : lines) {
            switch (line[0]) {
                case "begin" -> writers.begin(line[1]);
                case "commit" -> writers.commit(line[1]);
                case "abort" -> writers.abort(line[1]);
                case "close" -> writers.close(line[1]);
                case "send" -> writers.send(line[1], parse(topic, Arrays.copyOfRange(line, 2, line.length)));
                default -> throw new IllegalArgumentException("unknown line " + line[0]);
            }
        }
        writers.settle();
    }

    private void grow(String[] command) throws Exception {
        var partitions = NewPartitions.increaseTo(Integer.parseInt(command[3]));
        try (Admin admin = Admin.create(client(command[1], Map.of()))) {
            admin.createPartitions(Map.of(command[2], partitions)).all().get();
        }
    }

    private void committed(String[] command) throws Exception {
        try (Admin admin = Admin.create(client(command[1], Map.of()))) {
            var offsets = admin.listConsumerGroupOffsets(command[2]).partitionsToOffsetAndMetadata().get();
            offsets.forEach((at, committed) -> row(
                    at.topic(),
                    at.partition(),
                    committed.offset(),
                    committed.leaderEpoch().orElse(-1),
                    committed.metadata()));
        }
    }

    private void coordinator(String[] command) throws Exception {
        try (Admin admin = Admin.create(client(command[1], Map.of()))) {
            var group = admin.describeConsumerGroups(List.of(command[2])).describedGroups().get(command[2]);
            row(group.get().coordinator().id());
        }
    }

    private static boolean led(List<PartitionInfo> infos, int partitions) {
        return infos != null
                && infos.size() == partitions
                && infos.stream().allMatch(info -> info.leader() != null && !info.leader().isEmpty());
    }

    private void describe(String[] command) {
        try (var consumer = consumer(command[1], pairs(command, 3))) {
            List<PartitionInfo> infos = consumer.partitionsFor(command[2]);
            if (isEmpty(infos)) {
                throw new IllegalStateException("no topic " + command[2] + " as far as this node knows");
            }
            for (PartitionInfo info : infos) {
                int leader = info.leader() == null ? -1 : info.leader().id();
                row(info.partition(), leader, ids(info.replicas()), ids(info.inSyncReplicas()));
            }
        }
    }

    private static String ids(Node[] nodes) {
        var ids = new ArrayList<String>();
        for (Node node : nodes) {
            ids.add(node.idString());
        }
        return String.join(",", ids);
    }

    private void produce(String[] command) throws Exception {
        String topic = command[2];
        int count = Integer.parseInt(command[3]);
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>(count);
        for (int i = 0; i < count; i++) {
            records.add(parse(topic, in.readLine().split("\t", -1)));
        }
        var sent = new ArrayList<Future<RecordMetadata>>(count);
        Properties config = client(command[1], pairs(command, 4));
        config.putIfAbsent("delivery.timeout.ms", String.valueOf(PATIENCE_MS));
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (var record : records) {
                sent.add(producer.send(record));
            }
            producer.flush();
            for (var future : sent) {
                RecordMetadata metadata = future.get();
                row(metadata.partition(), metadata.offset());
            }
        }
    }

    private static ProducerRecord<byte[], byte[]> parse(String topic, String[] fields) {
        var headers = new ArrayList<Header>();
        for (int i = 4; i + 1 < fields.length; i += 2) {
            String key = new String(HEX.parseHex(fields[i]), StandardCharsets.UTF_8);
            headers.add(new RecordHeader(key, bytes(fields[i + 1])));
        }
        Integer partition = fields[0].equals("-1") ? null : Integer.valueOf(fields[0]);
        long timestamp = Long.parseLong(fields[1]);
        return new ProducerRecord<>(topic, partition, timestamp, bytes(fields[2]), bytes(fields[3]), headers);
    }

    /** Reads up to the end that the partition has when the command starts (with read_committed, the stable end). */
    private void consume(String[] command, Function<ConsumerRecord<byte[], byte[]>, Object[]> told) {
        var partition = new TopicPartition(command[2], Integer.parseInt(command[3]));
        try (var consumer = consumer(command[1], pairs(command, 5))) {
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            read(consumer, partition, Long.parseLong(command[4]), end, record -> row(told.apply(record)));
        }
    }

    private void end(String[] command) {
        var partition = new TopicPartition(command[2], Integer.parseInt(command[3]));
        try (var consumer = consumer(command[1], pairs(command, 4))) {
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            read(consumer, partition, 0, end, record -> {});
            row(end, consumer.position(partition));
        }
    }

    private static void read(
            KafkaConsumer<byte[], byte[]> consumer,
            TopicPartition partition,
            long from,
            long end,
            Consumer<ConsumerRecord<byte[], byte[]>> each) {
        consumer.assign(List.of(partition));
        consumer.seek(partition, from);
        long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
        while (consumer.position(partition) < end) {
            for (var record : consumer.poll(Duration.ofMillis(500)).records(partition)) {
                if (record.offset() < end) {
                    each.accept(record);
                }
            }
            if (System.nanoTime() - deadline > 0) {
                throw new IllegalStateException(
                        "read to " + consumer.position(partition) + " of " + end + " in " + PATIENCE_MS + " ms");
            }
        }
    }

    private static Object[] fields(ConsumerRecord<byte[], byte[]> record) {
        var fields = new ArrayList<Object>();
        fields.add(record.offset());
        fields.add(record.timestampType());
        fields.add(record.leaderEpoch().orElse(-1));
        fields.add(record.partition());
        fields.add(record.timestamp());
        fields.add(hex(record.key()));
        fields.add(hex(record.value()));
        for (Header header : record.headers()) {
            fields.add(hex(header.key().getBytes(StandardCharsets.UTF_8)));
            fields.add(hex(header.value()));
        }
        return fields.toArray();
    }

    private static Object[] skimmed(ConsumerRecord<byte[], byte[]> record) {
        byte[] value = record.value();
        var crc = new CRC32C();
        crc.update(value);
        String head = hex(Arrays.copyOf(value, Math.min(value.length, HEAD)));
        return new Object[] {record.offset(), hex(record.key()), head, value.length, crc.getValue()};
    }

    /** A member of a group, on a thread of its own. */
    private static final class Member extends Thread {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final String topic;
        private final Queue<Object[]> seen = new ConcurrentLinkedQueue<>();
        private volatile boolean leaves;
        private volatile Exception failure;

        private Member(KafkaConsumer<byte[], byte[]> consumer, String topic) {
            this.consumer = consumer;
            this.topic = topic;
            setDaemon(true);
        }

        @Override
        public void run() {
            try (consumer) {
                consumer.subscribe(List.of(topic));
                while (!leaves) {
                    for (var record : consumer.poll(Duration.ofMillis(100))) {
                        seen.add(new Object[] {record.partition(), record.offset(), hex(record.value())});
                    }
                }
            } catch (Exception e) {
                failure = e;
            }
        }
    }

    private void member(String[] command) {
        var member = new Member(consumer(command[2], pairs(command, 4)), command[3]);
        if (members.putIfAbsent(command[1], member) != null) {
            throw new IllegalArgumentException("there is a member " + command[1] + " already");
        }
        member.start();
    }

    private void seen(String[] command) throws Exception {
        Member member = members.get(command[1]);
        if (member.failure != null) {
            throw member.failure;
        }
        for (Object[] record = member.seen.poll(); record != null; record = member.seen.poll()) {
            row(record);
        }
    }

    private void leave(String[] command) throws Exception {
        Member member = members.remove(command[1]);
        member.leaves = true;
        member.join(PATIENCE_MS);
        if (member.isAlive()) {
            throw new IllegalStateException(command[1] + " has not closed in " + PATIENCE_MS + " ms");
        }
        if (member.failure != null) {
            throw member.failure;
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, Map<String, String> given) {
        Properties config = client(bootstrap, given);
        config.putIfAbsent("allow.auto.create.topics", "false");
        config.putIfAbsent("enable.auto.commit", "false");
        config.putIfAbsent("auto.offset.reset", "none");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Properties client(String bootstrap, Map<String, String> given) {
        var properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("default.api.timeout.ms", String.valueOf(PATIENCE_MS));
        properties.put("request.timeout.ms", "10000");
        properties.putAll(given);
        return properties;
    }

    private static Map<String, String> pairs(String[] command, int from) {
        var pairs = new HashMap<String, String>();
        for (int i = from; i < command.length; i++) {
            int equals = command[i].indexOf('=');
            pairs.put(command[i].substring(0, equals), command[i].substring(equals + 1));
        }
        return pairs;
    }

    private void row(Object... fields) {
        var line = new StringBuilder("row");
        for (Object field : fields) {
            line.append('\t').append(field);
        }
        out.append(line).append('\n');
    }

    private static byte[] bytes(String field) {
        return field.equals("-") ? null : HEX.parseHex(field);
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "-" : HEX.formatHex(bytes);
    }
}
