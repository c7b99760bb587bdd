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

	// held has one item, the key that was used last. Whoever has taken it out may
	// rewrite the key; the others wait for it.
	held chan heldKey
}

type heldKey struct {
	key []byte    // nil at first
	at  time.Time // just before the key was rewritten
}

func newKeyring(b *bucket.Bucket, own passcode.Secret, now func() time.Time) *keyring {
	k := &keyring{bucket: b, refresh: keyCheck, now: now, held: make(chan heldKey, 1)}
	k.held <- heldKey{}
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
	var held heldKey
	select {
	case held = <-k.held:
		defer func() { k.held <- held }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// Where the clock was set back to before the last rewrite, the age is unknown.
	if age := k.now().Sub(held.at); held.key != nil && age >= 0 && age < k.refresh {
		return held.key, nil
	}
	renewed, err := k.renew(ctx, held)
	if err == nil {
		held = renewed
	}
	return renewed.key, err
}

// renew rewrites the key in the bucket, or makes one where there is none. The
// replica whose write comes second reads what the first one wrote.
func (k *keyring) renew(ctx context.Context, held heldKey) (heldKey, error) {
	at := k.now()
	stored, err := k.bucket.Change(ctx, hmacKeyName, nil, func(found bucket.Entry) ([]byte, error) {
		switch {
		case found.Own:
			return nil, nil
		case len(found.Value) != 0:
			_, err := decodeKey(found.Value)
			return found.Value, err
		case held.key != nil && at.Sub(held.at) < putBackWithin*k.refresh:
			// Somebody purged the bucket, or deleted it: the others hold this key too.
			return []byte(hex.EncodeToString(held.key)), nil
		default:
			made := make([]byte, hmacKeyLen)
			_, _ = rand.Read(made) // crypto/rand.Read never fails
			return []byte(hex.EncodeToString(made)), nil
		}
	})
	if err != nil {
		return heldKey{}, err
	}
	key, err := decodeKey(stored.Value)
	return heldKey{key: key, at: at}, err
}

func decodeKey(text []byte) ([]byte, error) {
	key, err := hex.DecodeString(string(text))
	if err != nil || len(key) != hmacKeyLen {
		return nil, errBadKey
	}
	return key, nil
}
