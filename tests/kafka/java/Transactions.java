import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Producers, transactional and plain, that write to logs in exactly the order of a script. What is sent at one go by one
 * producer is one batch for each partition. Transactions may stay open from one script to the next.
 */
final class Transactions {
    /** The name of the producer that has no transactions. */
    private static final String PLAIN = "-";

    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();

    private final Properties config;
    private final List<Future<RecordMetadata>> sent = new ArrayList<>();
    private String last = PLAIN;

    Transactions(Properties config) {
        this.config = config;
        // Batches leave when somebody else is to write, and not before.
        config.putIfAbsent("linger.ms", "60000");
        config.putIfAbsent("delivery.timeout.ms", "120000");
    }

    void begin(String id) throws Exception {
        settle();
        producer(id).beginTransaction();
    }

    void commit(String id) throws Exception {
        settle();
        producer(id).commitTransaction();
    }

    void abort(String id) throws Exception {
        settle();
        producer(id).abortTransaction();
    }

    void send(String id, ProducerRecord<byte[], byte[]> record) throws Exception {
        if (!id.equals(last)) {
            settle();
            last = id;
        }
        sent.add(producer(id).send(record));
    }

    /** Closes a producer, which aborts what it has not committed. */
    void close(String id) throws Exception {
        settle();
        producers.remove(id).close();
    }

    /** Waits until everything that was sent is written. */
    void settle() throws Exception {
        if (!sent.isEmpty()) {
            producer(last).flush();
        }
        for (var future : sent) {
            future.get();
        }
        sent.clear();
    }

    private KafkaProducer<byte[], byte[]> producer(String id) {
        return producers.computeIfAbsent(id, name -> {
            var own = new Properties();
            own.putAll(config);
            if (!name.equals(PLAIN)) {
                own.put("transactional.id", name);
                // The broker must not end one before the script does.
                own.putIfAbsent("transaction.timeout.ms", "600000");
            }
            var producer = new KafkaProducer<>(own, new ByteArraySerializer(), new ByteArraySerializer());
            if (!name.equals(PLAIN)) {
                producer.initTransactions();
            }
            return producer;
        });
    }
}
