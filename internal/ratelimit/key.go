package ratelimit

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	hmacKeyName = "hmac-key" // in the bucket; the key of a phone is 64 hex digits
	hmacKeyLen  = 32
	// putBackWithin is for how many refresh intervals after its last use a replica
	// puts its key back where there is none. The bucket may have dropped an older one.
	putBackWithin = 10
)

var errBadKey = errors.New(hmacKeyName + " in the bucket is not 64 hex digits; purge it to have a new one made, " +
	"which forgets every phone's state")

// keyring gives the HMAC key: the operator's own, or the one that the replicas share. The bucket drops what is old,
// so the shared key is rewritten, with the same bytes, before it is used after a refresh interval; see [BucketTTL].
// A process that slept past the key's age goes over to the new one.
type keyring struct {
	bucket  *bucket.Bucket
	fixed   []byte // the operator's own; nil: shared
	refresh time.Duration
	now     func() time.Time

	// held is full while somebody uses what is below, and may rewrite the key.
	held chan struct{}
	key  []byte    // the one used last; nil at first
	at   time.Time // just before it was rewritten
}

func newKeyring(b *bucket.Bucket, own passcode.Secret, now func() time.Time) *keyring {
	k := &keyring{bucket: b, refresh: keyCheck, now: now, held: make(chan struct{}, 1)}
	if !own.IsZero() {
		k.fixed = []byte(own.Reveal())
	}
	return k
}

// name returns the bucket key of a phone.
func (k *keyring) name(ctx context.Context, phone passcode.Phone) (string, error) {
	key, err := k.current(ctx)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(phone.Reveal())) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// current returns a key that was rewritten within the refresh interval.
func (k *keyring) current(ctx context.Context) ([]byte, error) {
	if k.fixed != nil {
		return k.fixed, nil
	}
	select {
	case k.held <- struct{}{}:
		defer func() { <-k.held }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// Where the clock was set back to before the last rewrite, the age is unknown.
	if age := k.now().Sub(k.at); k.key != nil && age >= 0 && age < k.refresh {
		return k.key, nil
	}
	return k.renew(ctx)
}

// renew rewrites the key in the bucket, or makes one where there is none. The
// replica whose write comes second reads what the first one wrote.
func (k *keyring) renew(ctx context.Context) ([]byte, error) {
	at := k.now()
	stored, err := k.bucket.Change(ctx, hmacKeyName, nil, func(found bucket.Entry) ([]byte, error) {
		switch {
		case found.Own:
			return nil, nil
		case len(found.Value) != 0:
			_, err := decodeKey(found.Value)
			return found.Value, err
		case k.key != nil && at.Sub(k.at) < putBackWithin*k.refresh:
			// Somebody purged the bucket, or deleted it: the others hold this key too.
			return []byte(hex.EncodeToString(k.key)), nil
		default:
			made := make([]byte, hmacKeyLen)
			_, _ = rand.Read(made) // crypto/rand.Read never fails
			return []byte(hex.EncodeToString(made)), nil
		}
	})
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(stored.Value)
	if err == nil {
		k.key, k.at = key, at
	}
	return key, err
}

func decodeKey(text []byte) ([]byte, error) {
	key, err := hex.DecodeString(string(text))
	if err != nil || len(key) != hmacKeyLen {
		return nil, errBadKey
	}
	return key, nil
}
