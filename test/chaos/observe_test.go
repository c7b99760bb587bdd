package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
	"github.com/passcode-worker/passcode-worker/test/harness/leaks"
)

// readWithin bounds the reading of a whole stream.
const readWithin = time.Minute

// heard is what was announced, in the order of hearing.
type heard struct {
	mu       sync.Mutex
	messages []*nats.Msg
}

// listen hears every announcement from now on, at every server by a connection of
// its own. It is a plain subscriber, as a producer is. Not a stream: the server
// republishes a record with the header under which it was stored, which says what
// must have been stored before, and another stream would refuse it for that.
func (s *system) listen() {
	s.t.Helper()
	for _, b := range s.brokers {
		// It never gives a frozen server up, and so misses nothing.
		nc := connect(s.t, []string{b.url()}, nats.PingInterval(time.Hour))
		_, err := nc.Subscribe("passcode.result.>", func(msg *nats.Msg) {
			s.heard.mu.Lock()
			defer s.heard.mu.Unlock()
			s.heard.messages = append(s.heard.messages, msg)
		})
		require.NoError(s.t, err)
		require.NoError(s.t, nc.FlushTimeout(readyWithin))
		b.listener = nc
	}
}

// hearsAgain waits until the listener at a server that was away is back.
func (s *system) hearsAgain(b *broker) {
	s.t.Helper()
	deadline := time.Now().Add(readyWithin)
	for b.listener.FlushTimeout(time.Second) != nil {
		require.True(s.t, time.Now().Before(deadline), "the listener can't reach %s", b.name)
	}
}

// request is all that is known of one, seen from outside.
type request struct {
	job
	announced []announcement
	record    passcode.Result
	accepted  []harness.Sent
	dead      []deadLetter
}

// announcement is a result as it was heard.
type announcement struct {
	passcode.Result
	// seq is the record's sequence in its bucket: the order in which records were
	// written, where those who listen at several servers hear them in any. It is 0
	// where a worker announced the result again.
	seq uint64
}

// deadLetter is an entry of the dead-letter stream.
type deadLetter struct{ id, reason string }

// observed is what became of all jobs.
type observed struct {
	requests map[string]*request
	perPhone map[string]int // messages accepted, by phone
	leaks    []violation    // messages that show what they must not
}

// observe reads what became of the jobs, from outside alone.
func (s *system) observe(jobs []job) observed {
	s.t.Helper()
	seen := observed{requests: map[string]*request{}, perPhone: map[string]int{}}
	for _, j := range jobs {
		seen.requests[j.id] = &request{job: j}
	}
	of := func(id string) *request {
		if seen.requests[id] == nil {
			seen.requests[id] = &request{job: job{id: id, flavour: "unheard of"}}
		}
		return seen.requests[id]
	}
	s.heard.mu.Lock()
	for _, msg := range s.heard.messages {
		r := s.result(msg.Subject, msg.Data, &seen)
		seq, _ := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64) // absent where announced again
		of(r.RequestID).announced = append(of(r.RequestID).announced, announcement{r, seq})
	}
	s.heard.mu.Unlock()
	s.eachMessage("KV_passcode-requests", func(subject string, data []byte) {
		if r := s.result(subject, data, &seen); r.RequestID != "" {
			of(r.RequestID).record = r // the last of each stands
		}
	})
	for _, sent := range s.emulator.Sent() {
		of(sent.OutID).accepted = append(of(sent.OutID).accepted, sent)
		seen.perPhone[sent.Phone]++
	}
	for _, d := range s.deadLetters() {
		of(d.id).dead = append(of(d.id).dead, d)
	}
	return seen
}

// result reads a record or an announcement, and notes one that shows too much.
func (s *system) result(subject string, data []byte, seen *observed) (r passcode.Result) {
	if len(data) == 0 {
		return r // the mark of a record that was removed
	}
	assert.NoError(s.t, json.Unmarshal(data, &r), subject)
	for _, leak := range leaksIn(s.t, data) {
		seen.leaks = append(seen.leaks, violation{r.RequestID, subject + " shows too much: " + leak})
	}
	return r
}

// leaksIn finds what must not show, and tells of each with the value masked. The
// code is found also amid other letters: by chance it is nowhere.
func leaksIn(t *testing.T, data []byte) (found []string) {
	t.Helper()
	if n := bytes.Count(data, []byte(code)); n > 0 {
		found = append(found, fmt.Sprintf("the passcode, %d times", n))
	}
	numbers, err := leaks.Find(bytes.NewReader(data), nil)
	assert.NoError(t, err)
	for _, number := range numbers {
		found = append(found, strings.ReplaceAll(number.String(), code, "****"))
	}
	return found
}

// record is the last record of a request.
func (s *system) record(id string) (r passcode.Result) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, "KV_passcode-requests")
	require.NoError(s.t, err)
	msg, err := stream.GetLastMsgForSubject(ctx, "$KV.passcode-requests."+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return r
	}
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal(msg.Data, &r))
	return r
}

// deadLetters lists the dead letters by the requests they belong to.
func (s *system) deadLetters() (letters []deadLetter) {
	s.t.Helper()
	s.eachMessage("PASSCODE_DEAD", func(subject string, _ []byte) {
		rest, _ := strings.CutPrefix(subject, "passcode.dead.")
		reason, id, _ := strings.Cut(rest, ".")
		letters = append(letters, deadLetter{id: id, reason: reason})
	})
	return letters
}

// eachMessage reads a whole stream, oldest first.
func (s *system) eachMessage(name string, on func(subject string, data []byte)) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	stream, err := s.js.Stream(ctx, name)
	require.NoError(s.t, err)
	if stream.CachedInfo().State.Msgs == 0 {
		return
	}
	consumer, err := s.js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{})
	require.NoError(s.t, err)
	messages, err := consumer.Messages()
	require.NoError(s.t, err)
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		require.NoError(s.t, err, name)
		meta, err := msg.Metadata()
		require.NoError(s.t, err)
		on(msg.Subject(), msg.Data())
		if meta.NumPending == 0 {
			return
		}
	}
}
