// A session of go-zookeeper: ephemerals, watches that are set again each time, and three streams of writes. No call is
// repeated. The lines that it prints are described in ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

type line map[string]any

var (
	mutex   sync.Mutex
	start   = time.Now()
	stopped atomic.Bool
)

// Names of errors, as the other libraries have them. Any other is a connection's.
var names = map[error]string{
	zk.ErrConnectionClosed: "ConnectionClosed",
	zk.ErrNoServer:         "NoServer",
	zk.ErrSessionExpired:   "SessionExpired",
	zk.ErrSessionMoved:     "SessionMoved",
	zk.ErrClosing:          "Closing",
	zk.ErrBadVersion:       "BadVersion",
	zk.ErrNodeExists:       "NodeExists",
	zk.ErrNoNode:           "NoNode",
	zk.ErrNoAuth:           "NoAuth",
	zk.ErrAPIError:         "APIError",
	zk.ErrBadArguments:     "BadArguments",
	zk.ErrUnknown:          "Unknown",
}

var types = map[zk.EventType]string{
	zk.EventNodeCreated:         "created",
	zk.EventNodeDeleted:         "deleted",
	zk.EventNodeDataChanged:     "changed",
	zk.EventNodeChildrenChanged: "children",
}

func micros() int64 { return start.UnixMicro() + time.Since(start).Microseconds() }

func tell(l line) {
	text, err := json.Marshal(l)
	must(err)
	mutex.Lock()
	defer mutex.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type session struct {
	conn       *zk.Conn
	root, name string
	pause      time.Duration
	ready      chan struct{}
}

func main() {
	o := map[string]string{}
	for i := 1; i+1 < len(os.Args); i += 2 {
		o[strings.TrimPrefix(os.Args[i], "--")] = os.Args[i+1]
	}
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			os.Exit(1)
		}
		stopped.Store(true)
	}()
	rate, err := strconv.ParseFloat(o["rate"], 64)
	must(err)
	timeout, err := strconv.Atoi(o["timeout"])
	must(err)
	s := &session{
		root: "/bed/" + o["name"], name: o["name"], pause: time.Duration(float64(time.Second) / rate),
		ready: make(chan struct{}, 1),
	}
	conn, events, err := zk.Connect(strings.Split(o["servers"], ","), time.Duration(timeout)*time.Millisecond,
		zk.WithLogInfo(false))
	must(err)
	s.conn = conn
	go s.listen(events)
	<-s.ready
	for _, kind := range []string{"data", "child", "exist"} {
		go s.watch(kind)
	}
	tell(line{"t": "ready"})
	var streams sync.WaitGroup
	for _, stream := range []func(int){s.register(), s.sequence, s.nodes} {
		streams.Go(func() { s.stream(stream) })
	}
	streams.Wait()
	conn.Close()
	tell(line{"t": "end"})
	os.Exit(0)
}

// Tells of the session, and makes its ephemeral nodes, as an application does at the beginning and when its session expired.
func (s *session) listen(events <-chan zk.Event) {
	fresh := true
	for event := range events {
		if event.Type != zk.EventSession || stopped.Load() {
			continue
		}
		what := map[zk.State]string{
			zk.StateHasSession: "connected", zk.StateDisconnected: "disconnected", zk.StateExpired: "expired",
		}[event.State]
		if what == "" {
			continue
		}
		tell(line{"t": "session", "at": micros(), "what": what, "id": strconv.FormatInt(s.conn.SessionID(), 16)})
		if what == "expired" {
			fresh = true
		} else if what == "connected" && fresh {
			fresh = false
			go s.makeEphemerals()
		}
	}
}

func (s *session) makeEphemerals() {
	acl := zk.WorldACL(zk.PermAll)
	for _, e := range []struct {
		path  string
		flags int32
	}{{"/live/e", zk.FlagEphemeral}, {"/live/s-", zk.FlagEphemeral | zk.FlagSequence}} {
		for !stopped.Load() {
			path, err := s.conn.Create(s.root+e.path, nil, e.flags, acl)
			if err == nil {
				tell(line{"t": "live", "at": micros(), "path": path})
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *session) watch(kind string) {
	path := s.root + "/watch/" + kind
	for !stopped.Load() {
		sent := micros()
		var state int64
		var events <-chan zk.Event
		var stat *zk.Stat
		var err error
		switch kind {
		case "data":
			if _, stat, events, err = s.conn.GetW(path); err == nil {
				state = stat.Mzxid
			}
		case "child":
			if _, stat, events, err = s.conn.ChildrenW(path); err == nil {
				state = stat.Pzxid
			}
		default:
			var there bool
			if there, stat, events, err = s.conn.ExistsW(path); err == nil && there {
				state = stat.Czxid
			}
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		tell(line{"t": "arm", "k": kind, "sent": sent, "at": micros(), "z": state})
		event := <-events
		if what, known := types[event.Type]; known {
			tell(line{"t": "event", "k": kind, "at": micros(), "e": what})
		} else {
			tell(line{"t": "dropped", "k": kind, "at": micros()})
		}
	}
}

func (s *session) stream(step func(int)) {
	due := time.Now()
	for n := 0; !stopped.Load(); n++ {
		due = due.Add(s.pause)
		if late := time.Now().Add(-time.Second); due.Before(late) {
			due = late
		}
		time.Sleep(time.Until(due))
		step(n)
	}
}

// Makes a call and tells of its outcome; nil when it failed.
func call(head line, what func() (line, error)) line {
	head["t"], head["sent"] = "op", micros()
	result, err := what()
	head["done"] = micros()
	if err != nil {
		name, known := "", false
		for one, n := range names {
			if errors.Is(err, one) {
				name, known = n, true
			}
		}
		if !known {
			name = "ConnectionLoss"
		}
		head["err"], head["msg"] = name, err.Error()
		tell(head)
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	for key, value := range result {
		head[key] = value
	}
	tell(head)
	return result
}

func (s *session) register() func(int) {
	path := s.root + "/register"
	known := int32(-1)
	return func(n int) {
		var result line
		if known < 0 {
			result = call(line{"s": "read"}, func() (line, error) {
				data, stat, err := s.conn.Get(path)
				if err != nil {
					return nil, err
				}
				return line{"v": string(data), "ver": stat.Version}, nil
			})
		} else {
			value, base := fmt.Sprintf("%s-%d", s.name, n), known
			result = call(line{"s": "set", "v": value, "base": base}, func() (line, error) {
				stat, err := s.conn.Set(path, []byte(value), base)
				if err != nil {
					return nil, err
				}
				return line{"ver": stat.Version}, nil
			})
		}
		known = -1
		if result != nil {
			known = result["ver"].(int32)
		}
	}
}

func (s *session) sequence(n int) {
	value := fmt.Sprintf("%s-%d", s.name, n)
	call(line{"s": "seq", "v": value}, func() (line, error) {
		path, err := s.conn.Create(s.root+"/seq/q-", []byte(value), zk.FlagSequence, zk.WorldACL(zk.PermAll))
		return line{"path": path}, err
	})
}

func (s *session) nodes(n int) {
	name := fmt.Sprintf("n-%d", n)
	path := s.root + "/nodes/" + name
	made := call(line{"s": "create", "v": name}, func() (line, error) {
		_, err := s.conn.Create(path, []byte("x"), 0, zk.WorldACL(zk.PermAll))
		return line{}, err
	})
	if made != nil && n%2 == 0 {
		call(line{"s": "delete", "v": name}, func() (line, error) { return line{}, s.conn.Delete(path, -1) })
	}
}
