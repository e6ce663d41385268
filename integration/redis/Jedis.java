// Jedis against a node: java -cp … Jedis.java PORT

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPool;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.JedisPoolConfig;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.StreamEntry;
import redis.clients.jedis.resps.Tuple;

class Jedis {
    static void same(Object got, Object want) {
        if (!got.equals(want)) throw new AssertionError(got + ", not " + want);
    }

    public static void main(String[] args) throws Exception {
        var address = new HostAndPort("127.0.0.1", Integer.parseInt(args[0]));
        for (RedisProtocol protocol : List.of(RedisProtocol.RESP2, RedisProtocol.RESP3)) {
            var config = DefaultJedisClientConfig.builder().protocol(protocol).clientName("tester").build();
            try (var jedis = new JedisPooled(address, config)) {
                jedis.flushAll();
                values(jedis);
                pipelines(jedis);
                streams(jedis);
                scripts(jedis);
                published(jedis);
            }
            System.out.println("Jedis, " + protocol + ": ok");
        }
        pool(address);
        System.out.println("Jedis, pool: ok");
    }

    static void values(JedisPooled jedis) {
        same(jedis.set("k", "v", SetParams.setParams().nx().ex(100)), "OK");
        if (jedis.set("k", "w", SetParams.setParams().nx()) != null) throw new AssertionError("set twice");
        same(jedis.get("k"), "v");
        same(jedis.incrBy("n", 41), 41L);
        same(jedis.incrByFloat("f", 1.5), 1.5);
        same(jedis.hset("h", Map.of("a", "1", "b", "2")), 2L);
        same(jedis.hgetAll("h"), Map.of("a", "1", "b", "2"));
        same(jedis.rpush("l", "a", "b", "c"), 3L);
        same(jedis.lrange("l", 0, -1), List.of("a", "b", "c"));
        same(jedis.sadd("s", "x", "y"), 2L);
        same(jedis.smembers("s"), Set.of("x", "y"));
        same(jedis.zadd("z", Map.of("a", 1.5, "b", 2.0)), 2L);
        same(jedis.zrangeWithScores("z", 0, -1), List.of(new Tuple("a", 1.5), new Tuple("b", 2.0)));
        same(jedis.zscore("z", "a"), 1.5);
        same(jedis.blpop(5, "none", "l"), List.of("l", "a"));
        same(jedis.mget("k", "none").get(0), "v");
        same(jedis.type("z"), "zset");
        same(jedis.geoadd("g", 13.361389, 38.115556, "Palermo"), 1L);
        same(Math.round(jedis.geopos("g", "Palermo").get(0).getLongitude() * 1_000), 13_361L);
        same(jedis.bitcount("k"), 5L);
        same(jedis.pfadd("p", "a", "b"), 1L);
        same(jedis.pfcount("p"), 2L);
        try {
            jedis.lpush("k", "x");
            throw new AssertionError("no error");
        } catch (JedisDataException error) {
            same(error.getMessage().startsWith("WRONGTYPE"), true);
        }
        for (int number = 0; number < 500; number++) jedis.set("scan:" + number, "v");
        var found = new ArrayList<String>();
        String cursor = ScanParams.SCAN_POINTER_START;
        do {
            var page = jedis.scan(cursor, new ScanParams().match("scan:*").count(50));
            found.addAll(page.getResult());
            cursor = page.getCursor();
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        same(Set.copyOf(found).size(), 500);
    }

    static void pipelines(JedisPooled jedis) {
        try (var pipeline = jedis.pipelined()) {
            var replies = new ArrayList<Response<Long>>();
            for (int number = 0; number < 1_000; number++) replies.add(pipeline.incr("many"));
            Response<Long> failing = pipeline.lpush("many", "x");
            Response<String> last = pipeline.get("many");
            pipeline.sync();
            for (int number = 0; number < 1_000; number++) same(replies.get(number).get(), number + 1L);
            try {
                failing.get();
                throw new AssertionError("no error");
            } catch (JedisDataException error) {
                same(last.get(), "1000");
            }
        }
        try (AbstractTransaction transaction = jedis.multi()) {
            Response<Long> first = transaction.incr("t");
            Response<String> second = transaction.get("t");
            same(transaction.exec(), List.of(1L, "1"));
            same(first.get() + second.get(), "11");
        }
        try (AbstractTransaction transaction = jedis.transaction(false)) {
            transaction.watch("watched");
            jedis.set("watched", "changed");
            transaction.multi();
            transaction.set("watched", "by transaction");
            if (transaction.exec() != null) throw new AssertionError("a watched key has changed");
        }
        same(jedis.get("watched"), "changed");
    }

    static void streams(JedisPooled jedis) {
        StreamEntryID id = jedis.xadd("stream", StreamEntryID.NEW_ENTRY, Map.of("f", "v"));
        same(jedis.xgroupCreate("stream", "g", new StreamEntryID(0, 0), false), "OK");
        var streams = Map.of("stream", StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY);
        List<Map.Entry<String, List<StreamEntry>>> read =
            jedis.xreadGroup("g", "c", XReadGroupParams.xReadGroupParams().count(10), streams);
        same(read.get(0).getKey(), "stream");
        same(read.get(0).getValue().get(0).getFields(), Map.of("f", "v"));
        same(jedis.xpending("stream", "g").getTotal(), 1L);
        same(jedis.xack("stream", "g", id), 1L);
        same(jedis.xlen("stream"), 1L);
        same(jedis.xinfoStream("stream").getLength(), 1L);
    }

    static void scripts(JedisPooled jedis) {
        same(jedis.eval("return {KEYS[1], ARGV[1], 3}", List.of("k"), List.of("a")), List.of("k", "a", 3L));
        String digest = jedis.scriptLoad("return redis.call('INCR', KEYS[1])", "k");
        same(jedis.evalsha(digest, List.of("scripted"), List.of()), 1L);
    }

    static void published(JedisPooled jedis) throws Exception {
        var ready = new CountDownLatch(2);
        var heard = new ArrayList<String>();
        var listener = new JedisPubSub() {
            @Override
            public void onSubscribe(String channel, int count) {
                ready.countDown();
            }

            @Override
            public void onMessage(String channel, String message) {
                heard.add(channel + ":" + message);
                if (heard.size() == 2) unsubscribe();
            }
        };
        var thread = new Thread(() -> jedis.subscribe(listener, "news", "more"));
        thread.start();
        same(ready.await(30, TimeUnit.SECONDS), true);
        same(jedis.publish("news", "hello"), 1L);
        same(jedis.publish("more", "world"), 1L);
        thread.join(30_000);
        same(heard, List.of("news:hello", "more:world"));
    }

    static void pool(HostAndPort address) throws Exception {
        var config = new JedisPoolConfig();
        config.setMaxTotal(8);
        config.setTestOnBorrow(true);
        try (var pool = new JedisPool(config, address.getHost(), address.getPort())) {
            var threads = new ArrayList<Thread>();
            var failures = new ArrayList<Throwable>();
            for (int number = 0; number < 20; number++) {
                var thread = new Thread(() -> {
                    for (int round = 0; round < 100; round++) {
                        try (var jedis = pool.getResource()) {
                            jedis.incr("pooled");
                        }
                    }
                });
                thread.setUncaughtExceptionHandler((which, error) -> failures.add(error));
                thread.start();
                threads.add(thread);
            }
            for (var thread : threads) thread.join();
            same(failures, List.of());
            try (var jedis = pool.getResource()) {
                same(jedis.get("pooled"), "2000");
                same(jedis.select(3), "OK");
                same(jedis.set("elsewhere", "v"), "OK");
                try (Pipeline pipeline = jedis.pipelined()) {
                    pipeline.get("elsewhere");
                    pipeline.select(0);
                    pipeline.get("elsewhere");
                    var replies = pipeline.syncAndReturnAll();
                    same(replies.get(0), "v");
                    same(replies.get(1), "OK");
                    if (replies.get(2) != null) throw new AssertionError("it is in another database");
                }
            }
        }
    }
}
