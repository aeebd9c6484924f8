import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publishes a document with Kafka's own client, and removes another one.
 *
 * <pre>
 * mvn dependency:copy-dependencies -DoutputDirectory=lib
 * java -cp "lib/*" Publisher.java localhost:9092 documents.processed
 * </pre>
 *
 * Make the JSON with the library that you have; here it is written out so that nothing else is needed.
 */
public class Publisher {
    public static void main(String[] args) throws Exception {
        String id = "guide-java";
        String document = """
            {"id": "guide-java", "title": "Getting started",
             "source_url": "https://docs.example/guide", "technology": "river-pilot",
             "updated_at": "%s",
             "chunks": [{"id": "guide-java_0", "content": "First, untie the boat."},
                        {"id": "guide-java_1", "content": "Then wait for the tide."}]}
            """.formatted(Instant.now());
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", args[0], "enable.idempotence", true);
        try (KafkaProducer<String, String> producer =
                 new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            ProducerRecord<String, String> record = new ProducerRecord<>(args[1], id, document);
            record.headers().add("correlation-id", "run-17".getBytes(StandardCharsets.UTF_8));
            producer.send(record).get();
            producer.send(new ProducerRecord<>(args[1], "gone-java", null)).get();
        }
    }
}
