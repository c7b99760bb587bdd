package aliyun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/credentials-go/credentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// fakeChain builds providers that each give one session, and counts.
type fakeChain struct {
	builds, fetches, atATime atomic.Int64
	fail                     atomic.Bool
	wait                     chan struct{} // nil: open
	same                     bool          // every provider gives the same session
}

func (f *fakeChain) build() (credentials.Credential, error) {
	return &fakeProvider{chain: f, session: f.builds.Add(1)}, nil
}

type fakeProvider struct {
	credentials.Credential
	chain   *fakeChain
	session int64
}

func (p *fakeProvider) GetCredential() (*credentials.CredentialModel, error) {
	f, session := p.chain, p.session
	if f.atATime.Add(1) != 1 {
		panic("two fetches at a time")
	}
	defer f.atATime.Add(-1)
	f.fetches.Add(1)
	if f.wait != nil {
		<-f.wait
	}
	if f.fail.Load() {
		return nil, errors.New("token TestKeySecret0123456789 refused by http://100.100.100.200/")
	}
	if f.same {
		session = 1
	}
	id, secret, token := "STS.id", "TestKeySecret0123456789", fmt.Sprintf("token-%d", session)
	return &credentials.CredentialModel{AccessKeyId: &id, AccessKeySecret: &secret, SecurityToken: &token}, nil
}

func newTestRing(t *testing.T, chain *fakeChain) (*keyRing, *fake.Clock) {
	clock := newTestClock()
	ring := &keyRing{now: clock.Now, build: chain.build}
	t.Cleanup(ring.wg.Wait)
	return ring, clock
}

func TestKeysAreFetchedOnceForAll(t *testing.T) {
	t.Parallel()
	chain := &fakeChain{}
	ring, _ := newTestRing(t, chain)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			got, err := ring.get(t.Context(), nil)
			if assert.NoError(t, err) {
				assert.Equal(t, "token-1", *got.model.SecurityToken)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, chain.fetches.Load())
}

func TestKeysAreFetchedAheadWhileTheOldGoOnBeingUsed(t *testing.T) {
	t.Parallel()
	chain := &fakeChain{}
	ring, clock := newTestRing(t, chain)
	first, err := ring.get(t.Context(), nil)
	require.NoError(t, err)

	clock.Move(keysFresh)
	chain.wait = make(chan struct{})
	for range 10 {
		got, err := ring.get(t.Context(), nil)
		require.NoError(t, err, "nobody waits for the fetch")
		assert.Same(t, first, got)
	}
	close(chain.wait)
	ring.wg.Wait()
	assert.EqualValues(t, 2, chain.fetches.Load())
	assert.EqualValues(t, 1, chain.builds.Load(), "the provider keeps its session")
}

func TestKeysOutliveAProvidersFailureForAWhile(t *testing.T) {
	t.Parallel()
	chain := &fakeChain{}
	ring, clock := newTestRing(t, chain)
	_, err := ring.get(t.Context(), nil)
	require.NoError(t, err)
	chain.fail.Store(true)

	clock.Move(keysFresh)
	_, err = ring.get(t.Context(), nil)
	require.NoError(t, err)
	ring.wg.Wait()
	_, err = ring.get(t.Context(), nil)
	require.NoError(t, err)
	ring.wg.Wait()
	assert.EqualValues(t, 2, chain.fetches.Load(), "a failing provider is not asked at every call")

	clock.Move(keysUsable)
	_, err = ring.get(t.Context(), nil)
	require.ErrorIs(t, err, errCredentials)
	chain.fail.Store(false)
	_, err = ring.get(t.Context(), nil)
	require.NoError(t, err)
}

func TestWaitingForKeysEnds(t *testing.T) {
	t.Parallel()
	chain := &fakeChain{wait: make(chan struct{})}
	ring, _ := newTestRing(t, chain)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ring.get(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)

	close(chain.wait)
	ring.wg.Wait()
	assert.EqualValues(t, 1, chain.fetches.Load(), "the fetch goes on")
}

func TestKeysMaskThemselves(t *testing.T) {
	t.Parallel()
	ring := newKeyRing(Credentials{
		AccessKeyID: "id", AccessKeySecret: passcode.NewSecret("TestKeySecret"), SecurityToken: passcode.NewSecret("TestKeySecret2"),
	}, time.Now)
	got, err := ring.get(t.Context(), nil)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(verb, got), "TestKeySecret")
	}
	assert.Equal(t, "sts", *got.model.Type)
}

func newSenderWithChain(t *testing.T, service *service, chain *fakeChain) *Sender {
	options := testOptions(service.URL)
	options.Credentials = Credentials{}
	s := newTestSender(t, options)
	s.keys.build = chain.build
	return s
}

func TestSendTriesNewKeysOnceWhereTheTokenWasRefused(t *testing.T) {
	t.Parallel()
	refuse := func(tokens ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, token := range tokens {
				if r.Header.Get("X-Acs-Security-Token") == token {
					code(403, "InvalidSecurityToken.Expired", "x")(w, r)
					return
				}
			}
			ok(w, r)
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		same   bool
		class  passcode.Class
		calls  int
	}{
		{"the new ones work", refuse("token-1"), false, passcode.ClassOK, 2},
		{"the new ones are refused too", refuse("token-1", "token-2"), false, passcode.ClassAccount, 2},
		{"there are no new ones", refuse("token-1"), true, passcode.ClassAccount, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			service, chain := newService(t, test.answer), &fakeChain{same: test.same}
			s := newSenderWithChain(t, service, chain)
			outcome := send(t, s)
			assert.Equal(t, test.class, outcome.Class)
			assert.Len(t, service.got(), test.calls)
			assert.EqualValues(t, 2, chain.builds.Load(), "a fresh provider, which remembers no session")
		})
	}

	service := newService(t, code(403, "InvalidSecurityToken.Malformed", "x"))
	s := newTestSender(t, testOptions(service.URL))
	assert.Equal(t, passcode.ClassAccount, send(t, s).Class)
	assert.Len(t, service.got(), 1, "keys from the settings can't be renewed")
}

func TestSendWithoutKeysIsTheAccountsTrouble(t *testing.T) {
	t.Parallel()
	service, chain := newService(t, ok), &fakeChain{}
	chain.fail.Store(true)
	s := newSenderWithChain(t, service, chain)
	outcome := send(t, s)
	assert.Equal(t, passcode.ClassAccount, outcome.Class)
	assert.Equal(t, "credentials", outcome.Code)
	assertNoSecret(t, fmt.Sprintf("%#v", outcome))
	_, err := s.ReviewSign(t.Context(), "测试签名")
	var failure *answer.Failure
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, answer.NoCredentials, failure.Reason())
	assertNoSecret(t, err.Error())

	hanging := &fakeChain{wait: make(chan struct{})}
	s = newSenderWithChain(t, service, hanging)
	s.opts.Timeout = 20 * time.Millisecond
	assert.Equal(t, "credentials", send(t, s).Code, "a provider that hangs")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, "canceled", s.Send(ctx, testMessage(), time.Time{}).Code, "a caller who left")
	close(hanging.wait)
	assert.Empty(t, service.got())
}
