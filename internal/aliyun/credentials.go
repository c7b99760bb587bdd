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

// How long keys from a provider are used. Keys that were just fetched are good for 180 s:
// the SDK's providers renew a session that ends earlier.
const (
	keysFresh      = time.Minute       // after this they are fetched again, and used meanwhile
	keysUsable     = 150 * time.Second // after this they are not used
	refetchAtLeast = 5 * time.Second   // between two fetches ahead of need
)

// errCredentials stands for a provider's error, which may quote a token, path or answer.
var errCredentials = errors.New("no credentials")

// keys are one set of credentials. Of the SDK's interface its calls use GetCredential alone.
type keys struct {
	credentials.Credential
	model credentials.CredentialModel
}

// GetCredential implements the SDK's interface.
func (k *keys) GetCredential() (*credentials.CredentialModel, error) {
	model := k.model // the SDK may write to it
	return &model, nil
}

// String and GoString mask: the SDK's type prints the secret.
func (k *keys) String() string { return "****" }

// GoString is like String.
func (k *keys) GoString() string { return "****" }

// keyRing hands out keys. The SDK's providers have no lock and no context, so at most one
// fetch is in progress, in its own goroutine, and callers wait as long as their context.
type keyRing struct {
	now   func() time.Time
	build func() (credentials.Credential, error) // makes a provider; nil: the keys are in the settings

	mu        sync.Mutex
	provider  credentials.Credential
	current   *keys
	fetchedAt time.Time     // of current
	askedAt   time.Time     // of the last fetch
	pending   chan struct{} // closed when the fetch in progress ends; nil: there is none
	failed    bool          // the last fetch did
	wg        sync.WaitGroup
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

// get returns keys, and other ones than those rejected if there are any.
func (r *keyRing) get(ctx context.Context, rejected *keys) (*keys, error) {
	if r.build == nil {
		return r.current, nil
	}
	r.mu.Lock()
	age := r.now().Sub(r.fetchedAt)
	if r.current != nil && r.current != rejected && age < keysUsable {
		defer r.mu.Unlock()
		if age >= keysFresh && r.now().Sub(r.askedAt) >= refetchAtLeast {
			r.fetch(false)
		}
		return r.current, nil
	}
	fetched := r.fetch(rejected != nil)
	r.mu.Unlock()

	select {
	case <-fetched:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed {
		return nil, errCredentials
	}
	return r.current, nil
}

// fetch begins a fetch, unless one is in progress, and returns what tells its end. Renew
// forgets the provider, which would return the same session again. The lock is held.
func (r *keyRing) fetch(renew bool) <-chan struct{} {
	if r.pending != nil {
		return r.pending
	}
	if renew {
		r.provider = nil
	}
	provider, done := r.provider, make(chan struct{})
	r.pending, r.askedAt = done, r.now()
	r.wg.Go(func() {
		defer close(done)
		var model *credentials.CredentialModel
		err := wire.Guard(func() (err error) {
			if provider == nil {
				provider, err = r.build()
			}
			if err == nil {
				model, err = provider.GetCredential()
			}
			return err
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending = nil
		r.failed = err != nil || model == nil || empty(model.AccessKeyId) || empty(model.AccessKeySecret)
		if r.failed {
			return
		}
		// Equal keys stay the same value: so a caller whose keys were rejected sees that there are no others.
		if r.current == nil || !reflect.DeepEqual(r.current.model, *model) {
			r.current = &keys{model: *model}
		}
		r.provider, r.fetchedAt = provider, r.now()
	})
	return done
}

func empty(s *string) bool { return s == nil || *s == "" }
