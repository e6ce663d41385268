// go-redis against a node, in RESP2 and RESP3: go run goredis.go PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

func same(got, want any) {
	if !reflect.DeepEqual(got, want) {
		panic(fmt.Sprintf("%#v, not %#v", got, want))
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func values(ctx context.Context, r *redis.Client) {
	same(must(r.SetNX(ctx, "k", "v", 100*time.Second).Result()), true)
	same(must(r.SetNX(ctx, "k", "w", 0).Result()), false)
	same(must(r.Get(ctx, "k").Result()), "v")
	_, err := r.Get(ctx, "none").Result()
	same(errors.Is(err, redis.Nil), true)
	same(must(r.MGet(ctx, "k", "none").Result()), []any{"v", nil})
	same(must(r.IncrByFloat(ctx, "f", 1.5).Result()), 1.5)
	same(must(r.HSet(ctx, "h", "a", 1, "b", 2).Result()), int64(2))
	same(must(r.HGetAll(ctx, "h").Result()), map[string]string{"a": "1", "b": "2"})
	same(must(r.RPush(ctx, "l", "a", "b").Result()), int64(2))
	same(must(r.LRange(ctx, "l", 0, -1).Result()), []string{"a", "b"})
	same(must(r.BLPop(ctx, 5*time.Second, "none", "l").Result()), []string{"l", "a"})
	same(must(r.SAdd(ctx, "s", "x", "y").Result()), int64(2))
	same(len(must(r.SMembersMap(ctx, "s").Result())), 2)
	same(must(r.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: 2, Member: "b"}).Result()), int64(2))
	same(must(r.ZRangeWithScores(ctx, "z", 0, -1).Result()), []redis.Z{{Score: 1.5, Member: "a"}, {Score: 2, Member: "b"}})
	same(must(r.Type(ctx, "z").Result()), "zset")
	_, err = r.LPush(ctx, "k", "x").Result()
	same(err != nil && redis.HasErrorPrefix(err, "WRONGTYPE"), true)
	for number := range 500 {
		must(r.Set(ctx, fmt.Sprintf("scan:%d", number), number, 0).Result())
	}
	found := map[string]bool{}
	for pages := r.Scan(ctx, 0, "scan:*", 50).Iterator(); pages.Next(ctx); {
		found[pages.Val()] = true
	}
	same(len(found), 500)
}

func pipelines(ctx context.Context, r *redis.Client) {
	replies := must(r.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for range 1000 {
			pipe.Incr(ctx, "many")
		}
		return nil
	}))
	same(replies[999].(*redis.IntCmd).Val(), int64(1000))
	replies = must(r.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Incr(ctx, "t")
		pipe.Get(ctx, "t")
		return nil
	}))
	same(replies[1].(*redis.StringCmd).Val(), "1")
	// Optimistic increments of several at a time: none is lost.
	must(r.Set(ctx, "balance", 0, 0).Result())
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for done := 0; done < 20; {
				err := r.Watch(ctx, func(tx *redis.Tx) error {
					balance := must(tx.Get(ctx, "balance").Int())
					_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
						pipe.Set(ctx, "balance", balance+1, 0)
						return nil
					})
					return err
				}, "balance")
				if err == nil {
					done++
				} else if !errors.Is(err, redis.TxFailedErr) {
					panic(err)
				}
			}
		})
	}
	all.Wait()
	same(must(r.Get(ctx, "balance").Int()), 100)
}

func streams(ctx context.Context, r *redis.Client) {
	id := must(r.XAdd(ctx, &redis.XAddArgs{Stream: "stream", Values: map[string]any{"f": "v"}}).Result())
	must(r.XGroupCreate(ctx, "stream", "g", "0").Result())
	read := must(r.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"stream", ">"}}).Result())
	same(read, []redis.XStream{{Stream: "stream", Messages: []redis.XMessage{{ID: id, Values: map[string]any{"f": "v"}}}}})
	same(must(r.XPending(ctx, "stream", "g").Result()).Count, int64(1))
	same(must(r.XAck(ctx, "stream", "g", id).Result()), int64(1))
	same(must(r.XInfoStream(ctx, "stream").Result()).Length, int64(1))
}

func scripts(ctx context.Context, r *redis.Client) {
	script := redis.NewScript("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
	same(must(script.Run(ctx, r, []string{"scripted"}, "a").Slice()), []any{"scripted", "a", int64(1)})
	must(r.ScriptFlush(ctx).Result())
	same(must(script.Run(ctx, r, []string{"scripted"}, "a").Slice()), []any{"scripted", "a", int64(2)})
}

func published(ctx context.Context, r *redis.Client) {
	listener := r.PSubscribe(ctx, "ne*")
	defer listener.Close()
	must(listener.Receive(ctx))
	same(must(r.Publish(ctx, "news", "hello").Result()), int64(1))
	message := must(listener.ReceiveMessage(ctx))
	same([]string{message.Pattern, message.Channel, message.Payload}, []string{"ne*", "news", "hello"})
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Second)
	defer stop()
	for _, protocol := range []int{2, 3} {
		r := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1], Protocol: protocol, ClientName: "tester", PoolSize: 10,
			// An answer may be late on a busy machine; what is sent again is not what is tested.
			ReadTimeout: 60 * time.Second, MaxRetries: -1})
		must(r.FlushAll(ctx).Result())
		for _, part := range []func(context.Context, *redis.Client){values, pipelines, streams, scripts, published} {
			part(ctx, r)
		}
		same(r.Close(), nil)
		fmt.Printf("go-redis, RESP%d: ok\n", protocol)
	}
}
