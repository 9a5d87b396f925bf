// A plain producer or a member of a group with kafka-go.
package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"clients/bed"

	"github.com/segmentio/kafka-go"
)

func main() {
	o := bed.Parse()
	map[string]func(bed.Options){"produce": produce, "consume": consume}[o.Job](o)
}

// partition is the one that the key names.
func partition(message kafka.Message, partitions ...int) int {
	key := string(message.Key)
	n, err := strconv.Atoi(key[strings.LastIndex(key, "-")+1:])
	bed.Must(err)
	return partitions[n]
}

func produce(o bed.Options) {
	writer := &kafka.Writer{
		Addr: kafka.TCP(o.Brokers()...), Topic: o.Text("topic"), Balancer: kafka.BalancerFunc(partition),
		// By default it sends once a second (BatchTimeout). With less, batches of one record would go one at a time for each
		// partition.
		Async: true,
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				message.WriterData.(*bed.Record).Done(message.Offset, err)
			}
		},
	}
	if o.Settings() != "default" {
		writer.RequiredAcks = kafka.RequireAll
	}
	if o.Settings() == "off" {
		writer.MaxAttempts = 1
	}
	sent := bed.Produce(o, func(r *bed.Record) {
		message := kafka.Message{Key: r.Key, Value: r.Value, WriterData: r}
		if err := writer.WriteMessages(context.Background(), message); err != nil {
			r.Done(-1, err)
		}
	})
	bed.Must(writer.Close())
	bed.End(sent)
}

func consume(o bed.Options) {
	config := kafka.ReaderConfig{Brokers: o.Brokers(), GroupID: o.Text("group"), Topic: o.Text("topic")}
	if o.Settings() == "off" {
		config.MaxAttempts = 1
	}
	reader := kafka.NewReader(config)
	ctx, cancel := context.WithCancel(context.Background())
	stop := bed.Stopped()
	go func() {
		<-stop
		cancel()
	}()
	go watch(ctx, reader, int32(o.Number("partitions")))
	last := time.Now()
	newest := map[int]kafka.Message{}
	for ctx.Err() == nil {
		wait, done := context.WithTimeout(ctx, 100*time.Millisecond)
		message, err := reader.FetchMessage(wait)
		done()
		if err == nil {
			bed.Delivered(int32(message.Partition), message.Offset)
			newest[message.Partition] = message
		} else if wait.Err() == nil {
			bed.Failed("fetch", err)
			time.Sleep(100 * time.Millisecond)
		}
		if len(newest) > 0 && time.Since(last) > time.Second {
			last = time.Now()
			commit(ctx, reader, newest)
		}
	}
	commit(context.Background(), reader, newest)
	if err := reader.Close(); err != nil {
		bed.Failed("close", err)
	}
	bed.Print(bed.Line{"t": "end"})
}

func commit(ctx context.Context, reader *kafka.Reader, newest map[int]kafka.Message) {
	for partition, message := range newest {
		if err := reader.CommitMessages(ctx, message); err == nil {
			bed.Committed()
		} else if ctx.Err() == nil {
			bed.Failed("commit", err)
		}
		delete(newest, partition)
	}
}

// watch tells of rebalances: the reader says no more of them than their number. The only member of a group has everything.
func watch(ctx context.Context, reader *kafka.Reader, partitions int32) {
	all := []int32{}
	for n := range partitions {
		all = append(all, n)
	}
	for ctx.Err() == nil {
		for range reader.Stats().Rebalances {
			bed.Moved("assigned", all)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
