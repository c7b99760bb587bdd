package aliyun

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/aliyun/credentials-go/credentials"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/wire"
)

// How long keys from a provider are used. The SDK's providers renew a session
// that has 180 s or less to live whenever they are asked, so keys just got are
// good for that long.
const (
	keysFresh      = time.Minute       // after this they are fetched again, while they go on being used
	keysUsable     = 150 * time.Second // after this they are not used any more
	refetchAtLeast = 5 * time.Second   // between two fetches ahead of need
)

// errCredentials is all that is told of a provider's failure: its own text may
// quote a token, a path or an answer.
var errCredentials = errors.New("no credentials")

// keys are one set of credentials, as the SDK wants them for one call. Of its
// interface the SDK's calls use GetCredential alone.
type keys struct {
	credentials.Credential
	model credentials.CredentialModel
}

// GetCredential implements the SDK's interface.
func (k *keys) GetCredential() (*credentials.CredentialModel, error) {
	model := k.model // the SDK may write to it
	return &model, nil
}

// String masks: the SDK's own type prints the secret.
func (k *keys) String() string { return "****" }

// GoString masks too.
func (k *keys) GoString() string { return "****" }

// keyRing hands out keys. The SDK's providers have no lock and no context, so at
// most one fetch is in progress, in a goroutine of its own, and callers wait for it
// no longer than their context allows.
type keyRing struct {
	now func() time.Time
	// build makes a provider without memory; nil with keys from the settings.
	build func() (credentials.Credential, error)

	mu        sync.Mutex
	closed    bool
	provider  credentials.Credential
	current   *keys
	fetchedAt time.Time // of current
	askedAt   time.Time // of the last fetch, whatever came of it
	pending   *fetch
	wg        sync.WaitGroup
}

type fetch struct {
	done chan struct{}
	err  error
}

func newKeyRing(c Credentials, now func() time.Time) *keyRing {
	if c.AccessKeyID == "" {
		return &keyRing{now: now, build: func() (credentials.Credential, error) { return credentials.NewCredential(nil) }}
	}
	kind, id, secret, token := "access_key", c.AccessKeyID, c.AccessKeySecret.Reveal(), c.SecurityToken.Reveal()
	model := credentials.CredentialModel{AccessKeyId: &id, AccessKeySecret: &secret}
	if token != "" {
		kind, model.SecurityToken = "sts", &token
	}
	model.Type = &kind
	return &keyRing{now: now, current: &keys{model: model}}
}

// get returns keys, other than the rejected ones where there may be others.
func (r *keyRing) get(ctx context.Context, rejected *keys) (*keys, error) {
	r.mu.Lock()
	if r.build == nil {
		defer r.mu.Unlock()
		return r.current, nil
	}
	age := r.now().Sub(r.fetchedAt)
	if r.current != nil && r.current != rejected && age < keysUsable {
		defer r.mu.Unlock()
		if age >= keysFresh && r.now().Sub(r.askedAt) >= refetchAtLeast {
			r.start(false)
		}
		return r.current, nil
	}
	pending := r.start(rejected != nil)
	r.mu.Unlock()

	select {
	case <-pending.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if pending.err != nil {
		return nil, pending.err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, nil
}

// start begins a fetch, or returns the one in progress. Renew forgets the
// provider, which would give the same session again. The lock is held.
func (r *keyRing) start(renew bool) *fetch {
	if r.pending != nil {
		return r.pending
	}
	f := &fetch{done: make(chan struct{})}
	if r.closed {
		f.err = errCredentials
		close(f.done)
		return f
	}
	from := r.provider
	if renew {
		from = nil
	}
	r.pending, r.askedAt = f, r.now()
	r.wg.Go(func() {
		defer close(f.done)
		from, got, err := r.fetch(from)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending = nil
		if err != nil {
			f.err = err
			return
		}
		// Equal keys stay the same value, so that whoever had them rejected sees
		// that there are no others.
		if r.current == nil || !reflect.DeepEqual(r.current.model, got.model) {
			r.current = got
		}
		r.provider, r.fetchedAt = from, r.now()
	})
	return f
}

func (r *keyRing) fetch(from credentials.Credential) (credentials.Credential, *keys, error) {
	if from == nil {
		var err error
		if from, err = r.build(); err != nil {
			return nil, nil, errCredentials
		}
	}
	var model *credentials.CredentialModel
	err := wire.Guard(func() (err error) { model, err = from.GetCredential(); return err })
	if err != nil || model == nil || empty(model.AccessKeyId) || empty(model.AccessKeySecret) {
		return nil, nil, errCredentials
	}
	return from, &keys{model: *model}, nil
}

// close waits for a fetch in progress: a few seconds at most, by the timeouts that
// the SDK's providers set.
func (r *keyRing) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
}

func empty(s *string) bool { return s == nil || *s == "" }
