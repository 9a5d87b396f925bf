// A plain producer or a member of a group with franz-go.
package main

import (
	"context"
	"time"

	"clients/bed"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	o := bed.Parse()
	map[string]func(bed.Options){"produce": produce, "consume": consume}[o.Job](o)
}

func options(o bed.Options) []kgo.Opt {
	list := []kgo.Opt{kgo.SeedBrokers(o.Brokers()...)}
	if o.Settings() == "off" {
		list = append(list, kgo.RequestRetries(0))
	}
	return list
}

func produce(o bed.Options) {
	list := append(options(o), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if o.Settings() == "off" {
		list = append(list, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	}
	client, err := kgo.NewClient(list...)
	bed.Must(err)
	bed.Must(client.Ping(context.Background()))
	sent := bed.Produce(o, func(r *bed.Record) {
		record := &kgo.Record{Topic: o.Text("topic"), Partition: int32(r.Partition), Key: r.Key, Value: r.Value}
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) { r.Done(record.Offset, err) })
	})
	if err := client.Flush(context.Background()); err != nil {
		bed.Must(err)
	}
	client.Close()
	bed.End(sent)
}

func consume(o bed.Options) {
	topic := o.Text("topic")
	moved := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			bed.Moved(what, partitions[topic])
		}
	}
	client, err := kgo.NewClient(append(options(o),
		kgo.ConsumerGroup(o.Text("group")), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(moved("assigned")), kgo.OnPartitionsRevoked(moved("revoked")),
		kgo.OnPartitionsLost(moved("lost")),
	)...)
	bed.Must(err)
	stop := bed.Stopped()
	last, fresh := time.Now(), false
	for open := true; open; {
		select {
		case <-stop:
			open = false
			continue
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := client.PollFetches(ctx)
		cancel()
		fetches.EachError(func(_ string, _ int32, err error) {
			if err != context.DeadlineExceeded {
				bed.Failed("poll", err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) {
			fresh = true
			bed.Delivered(record.Partition, record.Offset)
		})
		if fresh && time.Since(last) > time.Second {
			last, fresh = time.Now(), false
			commit(client)
		}
	}
	commit(client)
	client.Close()
	bed.Print(bed.Line{"t": "end"})
}

func commit(client *kgo.Client) {
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		bed.Failed("commit", err)
	} else {
		bed.Committed()
	}
}
