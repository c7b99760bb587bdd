package bucket

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

const (
	// maxHistory is the most values that a bucket may keep of a key.
	maxHistory = 64
	// watchStart bounds the start of a watch.
	watchStart = 8 * time.Second
)

var errWatchEnded = errors.New("the watch ended")

// natsServer is a bucket of a NATS server.
type natsServer struct {
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	ttl time.Duration
	// republish is below which subject the server republishes each value, with its
	// last dot; empty where it doesn't.
	republish string
	ack       []byte // see ackOf
	inboxes   *inboxes
}

func lookUp(ctx context.Context, js jetstream.JetStream, name string) (natsServer, error) {
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return natsServer{}, err
	}
	s := natsServer{js: js, kv: kv, inboxes: &inboxes{nc: js.Conn()}}
	s.ack = ackOf(s.stream())
	info, err := s.info(ctx)
	if err != nil {
		return natsServer{}, err
	}
	s.ttl = info.Config.MaxAge
	if info.Config.RePublish != nil {
		s.republish = strings.TrimSuffix(info.Config.RePublish.Destination, ">")
	}
	return s, nil
}

func (s natsServer) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, s.stream())
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil // read just now, by Stream
}

func (s natsServer) stream() string            { return "KV_" + s.kv.Bucket() }
func (s natsServer) subject(key string) string { return "$KV." + s.kv.Bucket() + "." + key }
func (s natsServer) TTL() time.Duration        { return s.ttl }

// Get asks the leader of the bucket's stream.
//
// The client library has any replica answer, where a bucket allows that. One that was away answers before it has
// caught up: a write that rests on its old answer is refused, but not a decision after which nothing is written.
// One that is cut off is asked in vain for tens of seconds.
func (s natsServer) Get(ctx context.Context, key string) (Entry, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": s.subject(key)})
	if err != nil {
		return Entry{}, err
	}
	answer, err := s.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.stream(), request)
	if err != nil {
		return Entry{}, err
	}
	return readEntry(answer.Data)
}

func readEntry(answer []byte) (Entry, error) {
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return Entry{}, jetstream.ErrInvalidJetStreamResponse // the parser's words would quote the value
	}
	switch {
	case found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return Entry{}, nil
	case found.Error != nil:
		return Entry{}, found.Error
	case found.Message.Sequence == 0: // sequences begin at 1
		return Entry{}, jetstream.ErrInvalidJetStreamResponse
	}
	entry := Entry{Revision: found.Message.Sequence}
	var header nats.Header
	if len(found.Message.Header) > 0 {
		var err error
		if header, err = nats.DecodeHeadersMsg(found.Message.Header); err != nil {
			return Entry{}, fmt.Errorf("%w: header", jetstream.ErrInvalidJetStreamResponse)
		}
	}
	if !isMark(header) {
		entry.Value = append([]byte{}, found.Message.Data...) // an empty value is one
	}
	return entry, nil
}

// isMark says whether a message with this header stands for a value that is gone:
// deleted or purged by a client, or dropped by the server.
func isMark(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// Swap is [jetstream.KeyValue.Update], three times for each job: without its pattern for keys, and its repetitions.
func (s natsServer) Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.Begin(key, value, revision)(ctx)
}

func (s natsServer) Begin(key string, value []byte, revision uint64) (wait func(context.Context) (uint64, error)) {
	inbox, sendErr := s.send(key, value, revision)
	return func(ctx context.Context) (uint64, error) {
		if sendErr != nil {
			return 0, sendErr
		}
		answer, err := s.inboxes.answer(ctx, inbox)
		if err != nil {
			return 0, err
		}
		if next := plainAck(s.ack, answer.Data); next > 0 {
			return next, nil
		}
		return readAck(answer.Data)
	}
}

func (s natsServer) send(key string, value []byte, revision uint64) (*nats.Subscription, error) {
	if strings.ContainsFunc(key, notOfAKey) || key == "" {
		return nil, jetstream.ErrInvalidKey
	}
	return s.inboxes.ask(&nats.Msg{
		Subject: s.subject(key), Data: value,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(revision, 10)}},
	})
}

// inboxes are where answers arrive, one for each request at a time. They are used again, so that the server knows
// them. The requests of the client library share one inbox, whose answers take the way over one more goroutine.
type inboxes struct {
	nc *nats.Conn

	mu   sync.Mutex
	free []*nats.Subscription
}

// ask publishes a request, whose answer comes to the inbox.
func (i *inboxes) ask(msg *nats.Msg) (*nats.Subscription, error) {
	inbox, err := i.take()
	if err != nil {
		return nil, err
	}
	msg.Reply = inbox.Subject
	if err = i.nc.PublishMsg(msg); err != nil {
		i.put(inbox)
		return nil, err
	}
	return inbox, nil
}

// answer waits for the answer to a request. After an error the answer may still come, so nobody uses its inbox again.
func (i *inboxes) answer(ctx context.Context, inbox *nats.Subscription) (*nats.Msg, error) {
	answer, err := inbox.NextMsgWithContext(ctx)
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		_ = inbox.Unsubscribe() // fails where the connection is closed
		return nil, err
	}
	i.put(inbox)
	return answer, err
}

func (i *inboxes) take() (*nats.Subscription, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if last := len(i.free) - 1; last >= 0 {
		inbox := i.free[last]
		i.free = i.free[:last]
		return inbox, nil
	}
	return i.nc.QueueSubscribeSyncWithChan(i.nc.NewInbox(), "", make(chan *nats.Msg, 1))
}

func (i *inboxes) put(inbox *nats.Subscription) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.free = append(i.free, inbox)
}

// ackOf is how the acknowledgement of nearly every write to a stream begins; a sequence and a brace follow.
func ackOf(stream string) []byte { return []byte(`{"stream":"` + stream + `","seq":`) }

// plainAck reads such an acknowledgement as [readAck] does; 0: it looks different.
func plainAck(prefix, answer []byte) (next uint64) {
	digits, plain := bytes.CutPrefix(answer, prefix)
	digits, closed := bytes.CutSuffix(digits, []byte("}"))
	if !plain || !closed || len(digits) > 19 || bytes.HasPrefix(digits, []byte("0")) { // 20 digits may be too many
		return 0
	}
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0
		}
		next = 10*next + uint64(digit-'0')
	}
	return next
}

// notOfAKey reports what no key of ours has: request ids, and names in hex or of a word.
func notOfAKey(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
}

// readAck reads the acknowledgement of a write. A lost compare-and-swap has two codes, one of them on replicated streams.
func readAck(answer []byte) (uint64, error) {
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Sequence uint64              `json:"seq"`
	}
	if json.Unmarshal(answer, &ack) != nil { // the parser's words would quote the answer
		return 0, jetstream.ErrInvalidJSAck
	}
	switch {
	case ack.Error != nil && (ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, ErrConflict
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream == "" || ack.Sequence == 0:
		return 0, jetstream.ErrInvalidJSAck
	}
	return ack.Sequence, nil
}

func (s natsServer) Remove(ctx context.Context, key string) error { return s.kv.Purge(ctx, key) }

func (s natsServer) Watch(ctx context.Context, key string, on func(Entry)) error {
	// The context of a watch lasts as long as the watch, so its start is bounded from outside.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tooLong := fmt.Errorf("%w after %s", retry.ErrGaveUp, watchStart)
	bound := time.AfterFunc(watchStart, func() { cancel(tooLong) })
	defer bound.Stop()
	watcher, err := s.kv.Watch(ctx, key)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer func() { _ = watcher.Stop() }() // an error means that the watch is over already
	if !bound.Stop() {
		return tooLong
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case found, open := <-watcher.Updates():
			switch {
			case !open:
				return errWatchEnded
			case found == nil: // all that was stored at the start has been seen
			case found.Operation() == jetstream.KeyValuePut:
				on(Entry{Value: found.Value(), Revision: found.Revision()})
			default:
				on(Entry{Revision: found.Revision()})
			}
		}
	}
}

// History reads the values in one request, from any replica. The client's own
// History makes a consumer for it, which a user would need the right to.
func (s natsServer) History(ctx context.Context, key string) ([][]byte, error) {
	messages, err := jetstreamext.GetBatch(ctx, s.js, s.stream(), maxHistory,
		jetstreamext.GetBatchSeq(1), jetstreamext.GetBatchSubject(s.subject(key)))
	if err != nil {
		return nil, err
	}
	var values [][]byte
	complete := false
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		complete = msg.Header.Get("Nats-Num-Pending") == "0"
		if !isMark(msg.Header) {
			values = append(values, msg.Data)
		}
	}
	if !complete { // the iterator ends without an error when the time is over
		return nil, retry.ErrNoAnswer
	}
	return values, nil
}

func (s natsServer) Since(ctx context.Context) (time.Time, error) {
	info, err := s.info(ctx)
	switch {
	case err != nil:
		return time.Time{}, err
	case info.State.FirstSeq <= 1:
		return info.Created, nil
	case info.State.Msgs == 0:
		return info.TimeStamp, nil
	default:
		return info.State.FirstTime, nil
	}
}

func (s natsServer) Announce(key string, value []byte) error {
	if s.republish == "" {
		return nil
	}
	return s.js.Conn().Publish(s.republish+key, value)
}
