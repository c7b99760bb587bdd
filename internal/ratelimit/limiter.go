// Package ratelimit keeps the limits per phone: at most so many SMS in so long a
// window, shared by every replica of the worker.
//
// Windows slide: a reservation made at time t counts until t+w, exact up to the difference between the replicas'
// clocks. Each phone has one JSON document in a key-value bucket, under the hex HMAC-SHA256 of its E.164 number: no
// number is stored. It is changed by compare-and-swap alone, so two replicas can't both make the last reservation.
// A denial writes nothing.
//
// The HMAC key made by default lies in the same bucket. It keeps numbers out of listings, backups and logs, but not
// from somebody who may read the whole bucket and tries all numbers; set [Options].Key where that matters.
package ratelimit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// MaxClosure is how long a phone can be closed at most: Aliyun's longest window is a day.
	MaxClosure = 24 * time.Hour
	// KeyRefresh is how often the HMAC key in the bucket must be rewritten while it
	// is in use, so that the bucket doesn't drop it.
	KeyRefresh = time.Hour
	// keyCheck is how often it is rewritten in fact: for so long replicas may count
	// under different keys after somebody has emptied the bucket.
	keyCheck = time.Minute
)

var errNothingToReserve = errors.New("limits: there are no rules")

// Options say where a limiter keeps its state and what it enforces.
type Options struct {
	Bucket string        // an existing key-value bucket that keeps values for [BucketTTL]
	Rules  []domain.Rule // all hold at once; none: only Aliyun's own closures count
	// Key is the HMAC key under which phones are stored. Empty: a random one is
	// made once and kept in the bucket. With another key every phone starts from zero.
	Key    passcode.Secret
	Now    func() time.Time // default: [time.Now]
	Logger *slog.Logger     // default: none
}

// Limiter keeps the limits per phone in a bucket that every replica shares. It may be used by many goroutines. A
// call that fails may have been carried out none the less, and calling again is safe.
type Limiter struct {
	bucket *bucket.Bucket
	keys   *keyring
	rules  []domain.Rule
	now    func() time.Time
	log    *slog.Logger
}

// BucketTTL returns how long the limits bucket must keep its values under these rules.
//
// A document matters for at most L after it was written, L being the longer of the longest window and [MaxClosure].
// The HMAC key must outlive every document that was written under it, at most one [KeyRefresh] after the key. A
// second KeyRefresh is left for the time that a call takes between looking at the key and writing.
func BucketTTL(rules []domain.Rule) time.Duration {
	return max(longest(rules), MaxClosure) + 2*KeyRefresh
}

// Open returns a limiter on an existing bucket. It fails where the bucket is
// missing, or drops its values too early for the rules to hold.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Limiter, error) {
	b, err := bucket.Open(ctx, js, o.Bucket)
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if ttl, need := b.TTL(), BucketTTL(o.Rules); ttl != 0 && ttl < need-KeyRefresh {
		return nil, fmt.Errorf("limits: bucket %q drops its values after %s, the rules need %s",
			o.Bucket, domain.FormatDuration(ttl), domain.FormatDuration(need))
	}
	return New(ctx, b, o)
}

// New returns a limiter on a bucket.
func New(ctx context.Context, b *bucket.Bucket, o Options) (*Limiter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Limiter{
		bucket: b, keys: newKeyring(b, o.Key, o.Now), rules: o.Rules, now: o.Now,
		log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	if _, err := l.keys.current(ctx); err != nil {
		return nil, fmt.Errorf("limits: open: %w", err)
	}
	return l, nil
}

// Reserve makes a reservation for a request under every rule, or says how long
// until there can be one and which rule binds until then: the rule as
// [domain.Rule.String] writes it, or "closed" where Aliyun itself closed the phone.
//
// A request has one reservation. Asking again later moves it to now, because windows count when an SMS really goes
// out. If the other requests leave no room, the move is denied and the old reservation stays until it is released
// or ages out. Asking again within a millisecond, or with a clock that was set back, leaves it where it is.
//
// revision is that of the request's record. It grows with each attempt and fences the
// reservation off against earlier ones. The phone must be canonical E.164. With known,
// something is known of it, as [Limiter.ReserveAhead] told.
func (l *Limiter) Reserve(ctx context.Context, phone passcode.Phone, requestID string, revision uint64, known bool) (domain.Reservation, error) {
	if !passcode.ValidRequestID(requestID) { // its text may be anything, so it isn't shown
		return domain.Reservation{}, errors.New("limits: not a request id")
	}
	var answer domain.Reservation
	start := &bucket.Entry{}
	if known {
		start = nil
	}
	err := l.changeFrom(ctx, start, "reserve", phone, func(doc *document, now int64) (changed bool) {
		answer, changed = doc.reserve(requestID, revision, now, l.rules)
		return changed
	})
	if err != nil {
		return domain.Reservation{}, err
	}
	return answer, nil
}

// ReserveAhead begins a reservation for a request that is not claimed yet, and makes it only if nothing is known of
// the phone. So it moves no reservation that the request has, whoever made it. wait, to be called once, says whether
// it was made; if that isn't certain, it says no, and [Limiter.Reserve] finds out. It holds for revision 0: every
// attempt of the request may release it, and so may who made it and then lost the claim.
func (l *Limiter) ReserveAhead(ctx context.Context, phone passcode.Phone, requestID string) (wait func() (made, known bool)) {
	var made func(context.Context) error
	err := l.on(retry.Bound(ctx), "reserve ahead", phone, func(_ context.Context, name string) error {
		var doc document
		if _, changed := doc.reserve(requestID, 0, l.now().UnixNano(), l.rules); !changed {
			return errNothingToReserve
		}
		value, err := json.Marshal(doc)
		if err == nil {
			made = l.bucket.Begin(name, value)
		}
		return err
	})
	return func() (bool, bool) {
		if err != nil {
			return false, false
		}
		err := made(ctx)
		return err == nil, errors.Is(err, bucket.ErrConflict)
	}
}

// Release ends a request's reservation, when it is certain that the attempt of this revision sent nothing. It does
// nothing if a later attempt holds it: a worker that was frozen must not release another's.
func (l *Limiter) Release(ctx context.Context, phone passcode.Phone, requestID string, revision uint64) error {
	return l.change(ctx, "release", phone, func(doc *document, now int64) bool {
		return doc.release(requestID, revision, now, l.rules)
	})
}

// CloseFor closes a phone until d from now, at most [MaxClosure], because Aliyun's own
// limit refused it. A closure that lasts longer stays: the longer one is the rule.
func (l *Limiter) CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error {
	return l.change(ctx, "close", phone, func(doc *document, now int64) bool {
		return doc.closeFor(d, now, l.rules)
	})
}

// change is changeFrom, which begins without reading and assumes that nothing is known of the phone, as of most.
func (l *Limiter) change(ctx context.Context, call string, phone passcode.Phone, step func(*document, int64) bool) error {
	return l.changeFrom(ctx, &bucket.Entry{}, call, phone, step)
}

// changeFrom runs step on a phone's document and stores the result. An own write
// whose answer was lost is judged like any other: the reservation moves to now.
//
// A document that can't be read counts as empty and is replaced by the next write.
// That costs at most one more round of the limits for one phone, with Aliyun's own
// behind ours; to fail closed would lock the owner out for a day.
func (l *Limiter) changeFrom(
	ctx context.Context, start *bucket.Entry, call string, phone passcode.Phone, step func(*document, int64) bool,
) error {
	return l.on(ctx, call, phone, func(ctx context.Context, name string) error {
		_, err := l.bucket.Change(ctx, name, start, func(found bucket.Entry) ([]byte, error) {
			doc, err := decodeDocument(found.Value)
			if err != nil {
				l.log.Error("limits of a phone can't be read and start from zero", "key", name, "revision", found.Revision, "error", err)
			}
			// The clock is read after the document: windows must not lose the time that the broker takes.
			if !step(&doc, l.now().UnixNano()) {
				return nil, nil
			}
			return json.Marshal(doc)
		})
		return err
	})
}

// Show tells what is known of a phone. It changes nothing. Unlike Reserve it
// reports a document that can't be read as an error.
func (l *Limiter) Show(ctx context.Context, phone passcode.Phone) (state State, err error) {
	err = l.on(ctx, "show", phone, func(ctx context.Context, name string) error {
		found, err := l.bucket.Get(ctx, name)
		if err != nil {
			return err
		}
		doc, err := decodeDocument(found.Value)
		state = doc.state(l.now().UnixNano(), l.rules)
		return err
	})
	return state, err
}

// ResetPhone forgets all about a phone: its reservations and its closure.
func (l *Limiter) ResetPhone(ctx context.Context, phone passcode.Phone) error {
	return l.on(ctx, "reset", phone, l.bucket.Remove)
}

// on runs use with the phone's key in the bucket, all within one bound.
func (l *Limiter) on(ctx context.Context, call string, phone passcode.Phone, use func(ctx context.Context, name string) error) error {
	if !strings.HasPrefix(phone.Reveal(), "+") {
		return errors.New("limits: the phone must be canonical E.164")
	}
	ctx = retry.Bound(ctx)
	name, err := l.keys.name(ctx, phone)
	if err == nil {
		err = use(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("limits: %s: %w", call, err)
	}
	return nil
}
