package ratelimit

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// hmacKeyName is where the bucket keeps the HMAC key. A phone's key is 64 hex
	// digits, so the two can't meet.
	hmacKeyName = "hmac-key"
	hmacKeyLen  = 32
	// putBackWithin is for how many refresh intervals after its last use a replica
	// puts its key back where there is none. The bucket may have dropped an older one.
	putBackWithin = 10
)

var errBadKey = errors.New(hmacKeyName + " in the bucket is not 64 hex digits; purge it to have a new one made, " +
	"which forgets every phone's state")

// keyring gives the HMAC key: the operator's own, or the one that the replicas
// share through the bucket.
//
// The bucket drops what is old, the shared key included. So a key that this
// process has not rewritten for a refresh interval is rewritten before it is used;
// see [BucketTTL]. Rewriting is a compare-and-swap of the same bytes, so a process
// that slept past the key's age goes over to the new one.
type keyring struct {
	bucket  *bucket.Bucket
	fixed   []byte
	refresh time.Duration
	now     func() time.Time

	held     atomic.Pointer[heldKey]
	renewing chan struct{} // held by the one that rewrites the key; the others wait for it
}

type heldKey struct {
	key []byte
	at  time.Time // just before the key was rewritten
}

func newKeyring(b *bucket.Bucket, own passcode.Secret, now func() time.Time) *keyring {
	k := &keyring{bucket: b, refresh: keyCheck, now: now, renewing: make(chan struct{}, 1)}
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
	if held := k.held.Load(); k.fresh(held) {
		return held.key, nil
	}
	select {
	case k.renewing <- struct{}{}:
		defer func() { <-k.renewing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if held := k.held.Load(); k.fresh(held) { // somebody else did it meanwhile
		return held.key, nil
	}
	return k.renew(ctx)
}

// fresh is also false where the clock was set back to before the last rewrite:
// the true age is unknown then.
func (k *keyring) fresh(held *heldKey) bool {
	if held == nil {
		return false
	}
	age := k.now().Sub(held.at)
	return age >= 0 && age < k.refresh
}

// renew rewrites the key in the bucket, or makes one where there is none. The
// replica whose write comes second reads what the first one wrote.
func (k *keyring) renew(ctx context.Context) ([]byte, error) {
	at := k.now()
	stored, err := k.bucket.Change(ctx, hmacKeyName, nil, func(found bucket.Entry) ([]byte, error) {
		held := k.held.Load()
		switch {
		case found.Own:
			return nil, nil
		case len(found.Value) != 0:
			_, err := decodeKey(found.Value)
			return found.Value, err
		case held != nil && at.Sub(held.at) < putBackWithin*k.refresh:
			// Somebody purged the bucket, or deleted it: the others hold this key too.
			return []byte(hex.EncodeToString(held.key)), nil
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
		k.held.Store(&heldKey{key: key, at: at})
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
