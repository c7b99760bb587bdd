package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options say where a limiter keeps its state and what it enforces.
type Options struct {
	// Bucket is the name of an existing key-value bucket whose values are kept
	// for [BucketTTL] of the rules, or for ever.
	Bucket string
	// Rules all hold at once. None means that only Aliyun's own closures count.
	Rules []domain.Rule
	// Key is the HMAC key under which phones are stored. Empty: a random one is
	// made once and kept in the bucket. With another key every phone starts anew.
	Key passcode.Secret
	// Now is the clock; default [time.Now].
	Now func() time.Time
	// Logger tells of documents that can't be read; default: nobody.
	Logger *slog.Logger
}

// Limiter keeps the limits per phone in a bucket that every replica shares. Its
// methods may be called by any number of goroutines. No call lasts longer than
// eight seconds, however long its context has; a call that fails may have been
// carried out none the less, and calling again is safe.
type Limiter struct {
	store store
	keys  *keyring
	rules []domain.Rule
	now   func() time.Time
	log   *slog.Logger
	locks keyLock
}

// Open returns a limiter on an existing bucket. It fails where the bucket is
// missing, or drops its values too early for the rules to hold.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Limiter, error) {
	if err := checkRules(o.Rules); err != nil {
		return nil, fmt.Errorf("ratelimit: %w", err)
	}
	kv, err := openBucket(ctx, js, o)
	if err != nil {
		return nil, err
	}
	return open(ctx, kv, o, keyCheck)
}

func openBucket(ctx context.Context, js jetstream.JetStream, o Options) (*bucket.Bucket, error) {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	kv, err := bucket.Open(ctx, js, o.Bucket)
	switch {
	case errors.Is(err, bucket.ErrMissing):
		return nil, fmt.Errorf("ratelimit: %w", err)
	case err != nil:
		return nil, failed(ctx, "open", err)
	}
	if ttl, need := kv.TTL(), BucketTTL(o.Rules); ttl != 0 && ttl < need-KeyRefresh {
		return nil, fmt.Errorf("ratelimit: bucket %q drops its values after %s, the rules need %s",
			o.Bucket, domain.FormatDuration(ttl), domain.FormatDuration(need))
	}
	return kv, nil
}

// open is Open once the bucket is known to do.
func open(ctx context.Context, s store, o Options, refresh time.Duration) (*Limiter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{
		store: s,
		keys:  newKeyring(s, o.Key, refresh, o.Now),
		rules: slices.Clone(o.Rules),
		now:   o.Now,
		log:   o.Logger,
	}
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	if _, err := l.keys.current(ctx); err != nil {
		return nil, failed(ctx, "open", err)
	}
	return l, nil
}

// Reserve takes a place for a request under every rule, or says how long until
// there is one and which rule binds until then: the rule as [domain.Rule.String] writes
// it, or "closed" where Aliyun itself closed the phone.
//
// A request has one place, however often it asks. Asking again later moves the
// place to now, because windows count when an SMS really goes out: an attempt
// that sent nothing is followed by another, perhaps a minute on. The move is
// denied where the other requests leave no room at the new time; the old place
// then stays until it is released or ages out, so a caller that gives up releases
// it. Asking again within a millisecond, or with a clock that was set back,
// leaves the place where it is.
//
// attempt grows with each attempt of the request; see Release.
//
// The phone must be canonical E.164: another spelling would be another phone.
func (l *Limiter) Reserve(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) (domain.Reservation, error) {
	if err := checkRequestID(requestID); err != nil {
		return domain.Reservation{}, err
	}
	var answer domain.Reservation
	err := l.change(ctx, "reserve", phone, func(doc document, now int64) (next document, changed bool) {
		next, answer, changed = doc.reserve(requestID, attempt, now, l.rules)
		return next, changed
	})
	if err != nil {
		return domain.Reservation{}, err
	}
	return answer, nil
}

// Release gives a request's place back, when it is certain that nothing was sent by
// the attempt and those before it. It does nothing where there is no place, or a
// later attempt holds it: whoever was frozen over its own attempt must not take the
// place from under the attempt that another worker makes meanwhile.
func (l *Limiter) Release(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) error {
	return l.change(ctx, "release", phone, func(doc document, now int64) (document, bool) {
		return doc.release(requestID, attempt, now, l.rules)
	})
}

// CloseFor closes a phone until d from now, because Aliyun's own limit refused
// it. A closure that lasts longer already stays; d counts up to [MaxClosure].
func (l *Limiter) CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error {
	return l.change(ctx, "close", phone, func(doc document, now int64) (document, bool) {
		return doc.closeFor(d, now, l.rules)
	})
}

// change runs step on a phone's document and stores the result, again from the
// start as often as somebody else was faster. An answer that was lost on its way
// looks like that too: the next round then finds its own write, which step must
// recognise.
//
// The first round reads nothing and takes the phone for one of which nothing is
// known, as most are. Where that is wrong the write is refused; and where step has
// nothing to write, so that nobody could refuse it, the document is read after all.
func (l *Limiter) change(ctx context.Context, call string, phone passcode.Phone, step func(document, int64) (document, bool)) error {
	return l.locked(ctx, call, phone, func(ctx context.Context, name string) error {
		if next, changed := step(document{}, l.now().UnixNano()); changed {
			if err := l.swap(ctx, name, next, 0); err == nil {
				return nil
			}
		}
		return bucket.Retry(ctx, func(ctx context.Context) error {
			data, revision, err := l.store.Get(ctx, name)
			if err != nil {
				return err
			}
			// The clock is read after the document, never before: waiting for the
			// lock and the broker takes time that windows must not lose.
			next, changed := step(l.read(name, data, revision), l.now().UnixNano())
			if !changed {
				return nil
			}
			return l.swap(ctx, name, next, revision)
		})
	})
}

func (l *Limiter) swap(ctx context.Context, name string, doc document, revision uint64) error {
	encoded, err := doc.encode()
	if err != nil {
		return err
	}
	_, err = l.store.Swap(ctx, name, encoded, revision)
	return err
}

// read decodes a document. One that can't be read counts as empty and is
// replaced by the next write: the limiter fails open here. To fail closed would
// lock the phone's owner out for as long as the bucket keeps the bytes, up to a
// day, for a fault that nobody sees; to start anew costs at most one more round of
// the limits for one phone, with Aliyun's own limits behind ours.
func (l *Limiter) read(name string, data []byte, revision uint64) document {
	if len(data) == 0 {
		return document{}
	}
	doc, err := decodeDocument(data)
	if err != nil {
		l.log.Error("limits of a phone can't be read and start anew", "key", name, "revision", revision, "error", err)
		return document{}
	}
	return doc
}

// Show tells what is known of a phone. It changes nothing. Unlike Reserve it
// reports a document that can't be read as an error.
func (l *Limiter) Show(ctx context.Context, phone passcode.Phone) (State, error) {
	var state State
	var unreadable error
	err := l.locked(ctx, "show", phone, func(ctx context.Context, name string) error {
		return bucket.Retry(ctx, func(ctx context.Context) error {
			data, _, err := l.store.Get(ctx, name)
			if err != nil {
				return err
			}
			var doc document
			if len(data) != 0 {
				doc, unreadable = decodeDocument(data)
			}
			state = doc.state(l.now().UnixNano(), l.rules)
			return nil
		})
	})
	switch {
	case err != nil:
		return State{}, err
	case unreadable != nil:
		return State{}, fmt.Errorf("ratelimit: show: %w", unreadable)
	default:
		return state, nil
	}
}

// ResetPhone forgets all about a phone: its places and its closure.
func (l *Limiter) ResetPhone(ctx context.Context, phone passcode.Phone) error {
	return l.locked(ctx, "reset", phone, func(ctx context.Context, name string) error {
		return bucket.Retry(ctx, func(ctx context.Context) error { return l.store.Remove(ctx, name) })
	})
}

// locked runs use with the phone's bucket key, alone in this process for that
// phone, within [bucket.Patience].
func (l *Limiter) locked(ctx context.Context, call string, phone passcode.Phone, use func(ctx context.Context, name string) error) error {
	if err := checkPhone(phone); err != nil {
		return err
	}
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	name, err := l.keys.name(ctx, phone)
	if err != nil {
		return failed(ctx, call, err)
	}
	unlock, err := l.locks.lock(ctx, name)
	if err != nil {
		return failed(ctx, call, err)
	}
	defer unlock()
	if err := use(ctx, name); err != nil {
		return failed(ctx, call, err)
	}
	return nil
}

func checkPhone(phone passcode.Phone) error {
	if !strings.HasPrefix(phone.Reveal(), "+") {
		return errors.New("ratelimit: the phone must be canonical E.164")
	}
	return nil
}

func checkRequestID(id string) error {
	if !passcode.ValidRequestID(id) {
		return errors.New("ratelimit: not a request id") // its text may be anything, so it isn't shown
	}
	return nil
}
