// Puts by a number of clients at the leader of a cluster: bench etcd|perigee CLIENTS SECONDS ADDRESS...
// Prints "writes per second|milliseconds of the slowest hundredth".
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const keys = 100_000

var value = strings.Repeat("v", 100)

// A client's way to write one key.
type put func(ctx context.Context, key string) error

// How long a cluster may take until it has a leader that takes writes.
const patience = 60 * time.Second

func etcd(addresses []string) func() (put, error) {
	return func() (put, error) {
		for _, address := range addresses {
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 2 * time.Second})
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			status, err := client.Status(ctx, address)
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				return func(ctx context.Context, key string) error {
					_, err := client.Put(ctx, key, value)
					return err
				}, nil
			}
			client.Close()
		}
		return nil, fmt.Errorf("no leader")
	}
}

// The nodes are n1, n2, n3, in the order of their addresses; SQL runs at the one that leads, wherever it is asked.
func perigee(addresses []string) func() (put, error) {
	return func() (put, error) {
		client := redis.NewClient(&redis.Options{Addr: addresses[0], PoolSize: 1, MaxRetries: -1})
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		rows, err := client.Do(ctx, "SQL", "SELECT node FROM perigee.raft_status").Slice()
		if err != nil {
			return nil, err
		}
		// The names of the columns, then the row.
		for n, address := range addresses {
			if fmt.Sprint(rows[len(rows)-1]) == fmt.Sprintf("[n%d]", n+1) {
				leader := redis.NewClient(&redis.Options{Addr: address, PoolSize: 1, MaxRetries: -1})
				return func(ctx context.Context, key string) error { return leader.Set(ctx, key, value, 0).Err() }, nil
			}
		}
		return nil, fmt.Errorf("no leader in %v", rows)
	}
}

func main() {
	clients, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	connect := map[string]func([]string) func() (put, error){"etcd": etcd, "perigee": perigee}[os.Args[1]](os.Args[4:])
	puts := make([]put, clients)
	for n := range puts {
		for began := time.Now(); puts[n] == nil; time.Sleep(100 * time.Millisecond) {
			if puts[n], err = connect(); err == nil {
				err = puts[n](context.Background(), "first")
			}
			if err != nil {
				puts[n] = nil
				if time.Since(began) > patience {
					panic(err)
				}
			}
		}
	}
	took := make([][]time.Duration, clients)
	var all sync.WaitGroup
	began := time.Now()
	end := began.Add(time.Duration(seconds) * time.Second)
	for n := range puts {
		all.Go(func() {
			for now := time.Now(); now.Before(end); {
				if err := puts[n](context.Background(), "key:"+strconv.Itoa(rand.IntN(keys))); err != nil {
					panic(err)
				}
				before := now
				now = time.Now()
				took[n] = append(took[n], now.Sub(before))
			}
		})
	}
	all.Wait()
	spent := time.Since(began)
	var every []time.Duration
	for _, one := range took {
		every = append(every, one...)
	}
	sort.Slice(every, func(a, b int) bool { return every[a] < every[b] })
	slow := every[len(every)*99/100]
	fmt.Printf("%.1f|%.3f\n", float64(len(every))/spent.Seconds(), slow.Seconds()*1000)
}
