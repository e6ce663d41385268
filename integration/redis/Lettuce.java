// Lettuce against a node: java -cp … Lettuce.java PORT

import io.lettuce.core.ClientOptions;
import io.lettuce.core.KeyScanCursor;
import io.lettuce.core.KeyValue;
import io.lettuce.core.LettuceFutures;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScoredValue;
import io.lettuce.core.ScriptOutputType;
import io.lettuce.core.SetArgs;
import io.lettuce.core.StreamMessage;
import io.lettuce.core.TrackingArgs;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.Consumer;
import io.lettuce.core.XReadArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.support.caching.CacheAccessor;
import io.lettuce.core.support.caching.CacheFrontend;
import io.lettuce.core.support.caching.ClientSideCaching;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

class Lettuce {
    static void same(Object got, Object want) {
        if (got == null ? want != null : !got.equals(want)) throw new AssertionError(got + ", not " + want);
    }

    public static void main(String[] args) throws Exception {
        for (ProtocolVersion protocol : List.of(ProtocolVersion.RESP2, ProtocolVersion.RESP3)) {
            var uri = RedisURI.builder().withHost("127.0.0.1").withPort(Integer.parseInt(args[0]))
                .withTimeout(Duration.ofSeconds(30)).withClientName("tester").build();
            var client = RedisClient.create(uri);
            client.setOptions(ClientOptions.builder().protocolVersion(protocol).build());
            try (var connection = client.connect()) {
                connection.sync().flushall();
                values(connection.sync());
                futures(connection);
                transactions(client, connection.sync());
                streams(connection.sync());
                scripts(connection.sync());
                published(client, connection.sync());
                waits(client, connection.sync());
                if (protocol == ProtocolVersion.RESP3) cached(client, connection.sync());
            } finally {
                client.shutdown(Duration.ZERO, Duration.ofSeconds(5));
            }
            System.out.println("Lettuce, " + protocol + ": ok");
        }
    }

    static void values(RedisCommands<String, String> redis) {
        same(redis.set("k", "v", SetArgs.Builder.nx().ex(100)), "OK");
        same(redis.set("k", "w", SetArgs.Builder.nx()), null);
        same(redis.get("k"), "v");
        same(redis.mget("k", "none"), List.of(KeyValue.just("k", "v"), KeyValue.empty("none")));
        same(redis.incrbyfloat("f", 1.5), 1.5);
        same(redis.hset("h", Map.of("a", "1", "b", "2")), 2L);
        same(redis.hgetall("h"), Map.of("a", "1", "b", "2"));
        same(redis.rpush("l", "a", "b"), 2L);
        same(redis.lrange("l", 0, -1), List.of("a", "b"));
        same(redis.sadd("s", "x", "y"), 2L);
        same(redis.smembers("s"), Set.of("x", "y"));
        same(redis.zadd("z", 1.5, "a"), 1L);
        same(redis.zrangeWithScores("z", 0, -1), List.of(ScoredValue.just(1.5, "a")));
        same(redis.zscore("z", "a"), 1.5);
        same(redis.geoadd("g", 13.361389, 38.115556, "Palermo"), 1L);
        same(Math.round(redis.geopos("g", "Palermo").get(0).getX().doubleValue() * 1_000), 13_361L);
        same(redis.expire("k", 100), true);
        same(redis.type("z"), "zset");
        same(redis.info("server").contains("redis_version:7.4"), true);
        same(redis.clientGetname(), "tester");
        same(redis.configGet("maxmemory-policy"), Map.of("maxmemory-policy", "noeviction"));
        try {
            redis.lpush("k", "x");
            throw new AssertionError("no error");
        } catch (RedisCommandExecutionException error) {
            same(error.getMessage().startsWith("WRONGTYPE"), true);
        }
        for (int number = 0; number < 500; number++) redis.set("scan:" + number, "v");
        var found = new HashSet<String>();
        KeyScanCursor<String> cursor = redis.scan(ScanArgs.Builder.matches("scan:*").limit(50));
        found.addAll(cursor.getKeys());
        while (!cursor.isFinished()) {
            cursor = redis.scan(cursor, ScanArgs.Builder.matches("scan:*").limit(50));
            found.addAll(cursor.getKeys());
        }
        same(found.size(), 500);
    }

    static void futures(StatefulRedisConnection<String, String> connection) throws Exception {
        var redis = connection.async();
        connection.setAutoFlushCommands(false);
        var replies = new ArrayList<RedisFuture<Long>>();
        for (int number = 0; number < 5_000; number++) replies.add(redis.incr("many"));
        connection.flushCommands();
        connection.setAutoFlushCommands(true);
        same(LettuceFutures.awaitAll(Duration.ofSeconds(30), replies.toArray(new RedisFuture[0])), true);
        for (int number = 0; number < 5_000; number++) same(replies.get(number).get(), number + 1L);
        var reactive = connection.reactive().mget("k", "many").collectList().block(Duration.ofSeconds(30));
        same(reactive, List.of(KeyValue.just("k", "v"), KeyValue.just("many", "5000")));
    }

    static void transactions(RedisClient client, RedisCommands<String, String> redis) {
        same(redis.multi(), "OK");
        redis.incr("t");
        redis.get("t");
        TransactionResult result = redis.exec();
        same(result.wasDiscarded(), false);
        same(List.of(result.get(0), result.get(1)), List.of(1L, "1"));
        redis.watch("watched");
        try (var other = client.connect()) {
            other.sync().set("watched", "changed");
        }
        redis.multi();
        redis.set("watched", "by transaction");
        same(redis.exec().wasDiscarded(), true);
        same(redis.get("watched"), "changed");
    }

    static void streams(RedisCommands<String, String> redis) {
        String id = redis.xadd("stream", Map.of("f", "v"));
        same(redis.xgroupCreate(XReadArgs.StreamOffset.from("stream", "0"), "g"), "OK");
        List<StreamMessage<String, String>> read =
            redis.xreadgroup(Consumer.from("g", "c"), XReadArgs.StreamOffset.lastConsumed("stream"));
        same(read.get(0).getId(), id);
        same(read.get(0).getBody(), Map.of("f", "v"));
        same(redis.xpending("stream", "g").getCount(), 1L);
        same(redis.xack("stream", "g", id), 1L);
        same(redis.xlen("stream"), 1L);
    }

    static void scripts(RedisCommands<String, String> redis) {
        same(redis.<List<Object>>eval("return {KEYS[1], ARGV[1], 3}", ScriptOutputType.MULTI, new String[] {"k"}, "a"),
            List.of("k", "a", 3L));
        String digest = redis.scriptLoad("return redis.call('INCR', KEYS[1])");
        same(redis.<Long>evalsha(digest, ScriptOutputType.INTEGER, "scripted"), 1L);
    }

    static void published(RedisClient client, RedisCommands<String, String> redis) throws Exception {
        var heard = new LinkedBlockingQueue<String>();
        try (var connection = client.connectPubSub()) {
            connection.addListener(new RedisPubSubAdapter<>() {
                @Override
                public void message(String channel, String message) {
                    heard.add(channel + ":" + message);
                }

                @Override
                public void message(String pattern, String channel, String message) {
                    heard.add(pattern + ":" + channel + ":" + message);
                }
            });
            connection.sync().subscribe("news");
            connection.sync().psubscribe("mor*");
            same(redis.publish("news", "hello"), 1L);
            same(redis.publish("more", "world"), 1L);
            same(heard.poll(30, TimeUnit.SECONDS), "news:hello");
            same(heard.poll(30, TimeUnit.SECONDS), "mor*:more:world");
        }
    }

    static void waits(RedisClient client, RedisCommands<String, String> redis) throws Exception {
        try (var blocked = client.connect()) {
            var popped = blocked.async().blpop(30, "queue");
            redis.rpush("queue", "job");
            same(popped.get(30, TimeUnit.SECONDS), KeyValue.just("queue", "job"));
        }
    }

    static void cached(RedisClient client, RedisCommands<String, String> redis) throws Exception {
        redis.set("cached", "one");
        try (var connection = client.connect()) {
            var near = new ConcurrentHashMap<String, String>();
            CacheFrontend<String, String> front =
                ClientSideCaching.enable(CacheAccessor.forMap(near), connection, TrackingArgs.Builder.enabled());
            same(front.get("cached"), "one");
            same(near.get("cached"), "one");
            redis.set("cached", "two");
            for (int round = 0; near.containsKey("cached"); round++) {
                if (round > 3_000) throw new AssertionError("nobody said that the key has changed");
                Thread.sleep(10);
            }
            same(front.get("cached"), "two");
        }
    }
}
