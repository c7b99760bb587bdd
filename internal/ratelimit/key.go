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

	"github.com/cenkalti/backoff/v4"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// hmacKeyName is where the bucket keeps the HMAC key. A phone's key is 64 hex
	// digits, so the two can't meet.
	hmacKeyName = "hmac-key"
	hmacKeyLen  = 32
	// putBackWithin is for how many refresh intervals after its last use a replica
	// puts its key back where there is none. Of an older one it may be that the
	// bucket dropped it, and the others have forgotten it.
	putBackWithin = 10
)

var errBadKey = errors.New(hmacKeyName + " in the bucket is not 64 hex digits; purge it to have a new one made, " +
	"which forgets every phone's state")

// keyring gives the HMAC key: the operator's own, or the one that the replicas
// share through the bucket.
//
// The bucket drops what is old, the shared key included. So a key that this
// process has not rewritten for a refresh interval is not used again before it
// is rewritten; see [BucketTTL] for why that is enough. Rewriting is a
// compare-and-swap of the same bytes, which also proves that the key is still the
// one in force: a process that slept past its age adopts the new one.
type keyring struct {
	store   store
	fixed   []byte
	refresh time.Duration
	now     func() time.Time
	random  func([]byte)

	held atomic.Pointer[heldKey]
	turn keyLock
}

type heldKey struct {
	key []byte
	// at is the local time before the key was rewritten, so the key is at least
	// as young as that.
	at time.Time
}

func newKeyring(s store, own passcode.Secret, refresh time.Duration, now func() time.Time) *keyring {
	k := &keyring{store: s, refresh: refresh, now: now}
	k.random = func(b []byte) { _, _ = rand.Read(b) } // crypto/rand.Read never fails
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
	unlock, err := k.turn.lock(ctx, hmacKeyName)
	if err != nil {
		return nil, err
	}
	defer unlock()
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
	var key []byte
	err := bucket.Retry(ctx, func(ctx context.Context) error {
		at := k.now()
		text, revision, err := k.store.Get(ctx, hmacKeyName)
		if err != nil {
			return err
		}
		switch held := k.held.Load(); {
		case len(text) != 0:
		case held != nil && at.Sub(held.at) < putBackWithin*k.refresh:
			// Somebody purged the bucket, or deleted it: the others hold this key too.
			text = []byte(hex.EncodeToString(held.key))
		default:
			made := make([]byte, hmacKeyLen)
			k.random(made)
			text = []byte(hex.EncodeToString(made))
		}
		key, err = hex.DecodeString(string(text))
		if err != nil || len(key) != hmacKeyLen {
			return backoff.Permanent(errBadKey)
		}
		if _, err := k.store.Swap(ctx, hmacKeyName, text, revision); err != nil {
			return err
		}
		k.held.Store(&heldKey{key: key, at: at})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}
