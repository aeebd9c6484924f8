import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Confluent's Parallel Consumer on a task of work.py: keys in order, commits as it does by default, a result produced
 * for each record, and as many records at once as fill the slots with their five chunks.
 */
public final class ParallelConsumer {
    private static final int CHUNKS_A_DOCUMENT = 5;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private final JsonNode task;

    private ParallelConsumer(JsonNode task) {
        this.task = task;
    }

    public static void main(String[] args) throws IOException {
        new ParallelConsumer(JSON.readTree(args[0])).run();
    }

    private void run() {
        Map<String, Object> reading = Map.of("bootstrap.servers", text("kafka"), "group.id", text("group"),
                "enable.auto.commit", "false", "auto.offset.reset", "earliest");
        Map<String, Object> writing = Map.of("bootstrap.servers", text("kafka"), "acks", "all");
        var consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
                .ordering(ProcessingOrder.KEY)
                .maxConcurrency(Math.max(1, task.get("slots").asInt() / CHUNKS_A_DOCUMENT))
                .consumer(consumer)
                .producer(producer)
                .build();
        var processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(text("topic")));
        Runtime.getRuntime().addShutdownHook(new Thread(processor::closeDontDrainFirst));
        processor.pollAndProduce(record -> new ProducerRecord<>(text("results"), record.key(), store(record.value())));
    }

    private byte[] store(byte[] value) {
        try {
            JsonNode event = JSON.readTree(value);
            var chunks = new ArrayList<CompletableFuture<Void>>();
            for (JsonNode chunk : event.get("chunks")) {
                chunks.add(store(event, chunk));
            }
            CompletableFuture.allOf(chunks.toArray(new CompletableFuture<?>[0])).join();
            return JSON.writeValueAsBytes(Map.of("document_id", event.get("id"), "status", "success", "chunks", chunks.size()));
        } catch (IOException wrong) {
            throw new UncheckedIOException(wrong);
        }
    }

    private CompletableFuture<Void> store(JsonNode event, JsonNode chunk) throws IOException {
        var metadata = Map.of("title", event.get("title"), "docSource", chunk.get("id"));
        byte[] body = JSON.writeValueAsBytes(
                Map.of("textContent", chunk.get("content"), "addToWorkspaces", text("workspace"), "metadata", metadata));
        var upload = request("raw-text").header("Content-Type", "application/json").POST(BodyPublishers.ofByteArray(body));
        return send(upload)
                .thenCompose(answer -> send(request(name(answer))))
                .thenAccept(answer -> {
                    if (!answer.get("document").get("cached").asBoolean()) {
                        throw new IllegalStateException("it was not embedded");
                    }
                });
    }

    private static String name(JsonNode answer) {
        String location = answer.get("documents").get(0).get("location").asText();
        return location.substring(location.indexOf('/') + 1);
    }

    private HttpRequest.Builder request(String name) {
        var uri = URI.create(text("endpoint") + "/api/v1/document/" + name);
        return HttpRequest.newBuilder(uri).header("Authorization", "Bearer bench-key");
    }

    private static CompletableFuture<JsonNode> send(HttpRequest.Builder request) {
        return HTTP.sendAsync(request.build(), BodyHandlers.ofByteArray()).thenApply(ParallelConsumer::read);
    }

    private static JsonNode read(HttpResponse<byte[]> answer) {
        try {
            return JSON.readTree(answer.body());
        } catch (IOException wrong) {
            throw new UncheckedIOException(wrong);
        }
    }

    private String text(String name) {
        return task.get(name).asText();
    }
}
