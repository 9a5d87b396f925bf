// A plain producer or a member of a group with Sarama.
package main

import (
	"context"
	"errors"
	"time"

	"clients/bed"

	"github.com/IBM/sarama"
)

func main() {
	o := bed.Parse()
	map[string]func(bed.Options){"produce": produce, "consume": consume}[o.Job](o)
}

func produce(o bed.Options) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	if o.Settings() == "off" {
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Retry.Max = 0
	}
	producer, err := sarama.NewAsyncProducer(o.Brokers(), config)
	bed.Must(err)
	told := make(chan struct{})
	go func() {
		for message := range producer.Successes() {
			message.Metadata.(*bed.Record).Done(message.Offset, nil)
		}
		told <- struct{}{}
	}()
	go func() {
		for failure := range producer.Errors() {
			failure.Msg.Metadata.(*bed.Record).Done(-1, failure.Err)
		}
		told <- struct{}{}
	}()
	sent := bed.Produce(o, func(r *bed.Record) {
		producer.Input() <- &sarama.ProducerMessage{
			Topic: o.Text("topic"), Partition: int32(r.Partition),
			Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value), Metadata: r,
		}
	})
	producer.AsyncClose()
	<-told
	<-told
	bed.End(sent)
}

type handler struct{}

func (handler) Setup(s sarama.ConsumerGroupSession) error {
	for _, partitions := range s.Claims() {
		bed.Moved("assigned", partitions)
	}
	return nil
}

func (handler) Cleanup(s sarama.ConsumerGroupSession) error {
	for _, partitions := range s.Claims() {
		bed.Moved("revoked", partitions)
	}
	return nil
}

func (handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			bed.Delivered(message.Partition, message.Offset)
			s.MarkMessage(message, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func consume(o bed.Options) {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	group, err := sarama.NewConsumerGroup(o.Brokers(), o.Text("group"), config)
	bed.Must(err)
	go func() {
		for err := range group.Errors() {
			bed.Failed("run", err)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	stop := bed.Stopped()
	go func() {
		<-stop
		cancel()
	}()
	for ctx.Err() == nil {
		// It returns whenever the group rebalances, and is then called again.
		if err := group.Consume(ctx, []string{o.Text("topic")}, handler{}); err != nil && !errors.Is(err, context.Canceled) {
			bed.Failed("consume", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	if err := group.Close(); err != nil {
		bed.Failed("close", err)
	}
	bed.Print(bed.Line{"t": "end"})
}
