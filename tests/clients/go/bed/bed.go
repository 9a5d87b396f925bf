// Package bed is what the Go client programs have in common: their options, the lines that they print, and when to send
// what. The lines are those that bed.py of the Python programs describes.
package bed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the words of the command line.
type Options struct {
	// Job is "produce" or "consume".
	Job   string
	words map[string]string
}

// Line is one JSON object of the output.
type Line map[string]any

var (
	mutex sync.Mutex
	start = time.Now()
)

// Parse reads the command line.
func Parse() Options {
	o := Options{Job: os.Args[1], words: map[string]string{}}
	for i := 2; i+1 < len(os.Args); i += 2 {
		o.words[strings.TrimPrefix(os.Args[i], "--")] = os.Args[i+1]
	}
	return o
}

// Text is an option's value.
func (o Options) Text(name string) string { return o.words[name] }

// Brokers are the bootstrap addresses.
func (o Options) Brokers() []string { return strings.Split(o.words["bootstrap"], ",") }

// Settings is "default", "all" (the same with all acknowledgements asked for) or "off" (that, and no retries).
func (o Options) Settings() string { return o.words["settings"] }

// Number is an option's value as a number.
func (o Options) Number(name string) float64 {
	n, err := strconv.ParseFloat(o.words[name], 64)
	Must(err)
	return n
}

// Must ends the program when there is an error that makes its work impossible.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Print writes a line.
func Print(line Line) {
	text, err := json.Marshal(line)
	Must(err)
	mutex.Lock()
	defer mutex.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// Micros is the time in microseconds since the epoch; it never goes backwards.
func Micros() int64 { return start.UnixMicro() + time.Since(start).Microseconds() }

// Stopped is closed at a line on standard input; at its end the program ends at once.
func Stopped() <-chan struct{} {
	stop := make(chan struct{})
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			os.Exit(1)
		}
		close(stop)
	}()
	return stop
}

// Record is one record on its way, and how its outcome is told.
type Record struct {
	Partition  int
	Key, Value []byte
	seq        int
	sent       int64
}

// Produce hands records to `send` at the wanted rate until it is told to stop, and gives their number.
func Produce(o Options, send func(*Record)) int {
	stop := Stopped()
	Print(Line{"t": "ready"})
	partitions, padding := int(o.Number("partitions")), strings.Repeat("x", int(o.Number("padding")))
	each := time.Duration(float64(time.Second) / o.Number("rate"))
	begin := time.Now()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return n
		case <-time.After(time.Until(begin.Add(time.Duration(n) * each))):
		}
		r := &Record{Partition: n % partitions, seq: n / partitions, sent: Micros()}
		r.Key = fmt.Appendf(nil, "%s-%d", o.Text("id"), r.Partition)
		r.Value = fmt.Appendf(nil, "%s|%d|%d|%s", o.Text("id"), r.Partition, r.seq, padding)
		send(r)
	}
}

// Done tells the outcome.
func (r *Record) Done(offset int64, err error) {
	line := Line{"t": "r", "p": r.Partition, "s": r.seq, "sent": r.sent, "done": Micros()}
	if err == nil {
		line["off"] = offset
	} else {
		line["err"], line["msg"] = Name(err), err.Error()
	}
	Print(line)
}

// Name is what the errors of one kind have in common. Go's have no names: of a network's error it is the operation and what
// the kernel said, without addresses; of any other the innermost's text up to the first colon, without Sarama's prefixes.
func Name(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		inner := op.Err
		for errors.Unwrap(inner) != nil {
			inner = errors.Unwrap(inner)
		}
		return fmt.Sprintf("%s: %s", op.Op, inner)
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "kafka server: "), "kafka: ")
	name, _, _ := strings.Cut(text, ":")
	if len(name) > 60 {
		name = name[:60]
	}
	return name
}

// End is the last line of a producer.
func End(sent int) {
	Print(Line{"t": "end", "sent": sent})
	os.Exit(0)
}

// Moved tells of a change of assignment: "assigned", "revoked" or "lost".
func Moved(what string, partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	Print(Line{"t": what, "at": Micros(), "p": partitions})
}

// Delivered tells of a record.
func Delivered(partition int32, offset int64) { Print(Line{"t": "r", "p": partition, "o": offset}) }

// Committed tells of a commit's success.
func Committed() { Print(Line{"t": "commit", "at": Micros()}) }

// Failed tells of a call that failed.
func Failed(call string, err error) {
	Print(Line{"t": "error", "at": Micros(), "in": call, "err": Name(err), "msg": err.Error()})
}
