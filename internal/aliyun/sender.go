package aliyun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Sender sends messages and looks them up. It is safe for concurrent use.
type Sender struct {
	opts  Options
	sdk   *dysmsapi.Client // a pattern: each call uses a copy
	http  *http.Client
	dials *dialer
	keys  *keyRing
	pacer *pacer
	// breaker is told of every call, and holds the pacer while none is answered.
	breaker *Breaker
}

// New returns a sender. It makes no call. Its error lists every option that is
// wrong.
func New(o Options) (*Sender, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("aliyun: %w", err)
	}
	sdk, err := newSDK(o)
	if err != nil {
		return nil, fmt.Errorf("aliyun: %w", err)
	}
	dials := newDialer(o)
	pacer := newPacer(o.MaxQPS, o.Now)
	return &Sender{
		opts:  o,
		sdk:   sdk,
		dials: dials,
		http: &http.Client{
			Transport: newTransport(o, dials),
			// A redirect would carry phone and passcode to another place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		keys:    newKeyRing(o.Credentials, o.Now),
		pacer:   pacer,
		breaker: newBreaker(o, pacer),
	}, nil
}

// Close releases connections and waits for what the sender began by itself. It
// is to be called when no call is under way any more.
func (s *Sender) Close() {
	s.keys.close()
	s.dials.stop()
	s.http.CloseIdleConnections()
}

// Send makes one attempt at sending the message and classifies what came of it.
// It takes at most [Options.Timeout], and repeats nothing, but for one case that
// surely sent nothing: where the security token was refused, and there are newer
// keys, these are tried once.
//
// Nothing is written to the network after notAfter (zero: no such bound), even
// where the process was stopped in between: the outcome is then transient, code
// "too_late". Where ctx ends before anything was written it is transient,
// "canceled"; afterwards in_doubt.
func (s *Sender) Send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome {
	began := s.opts.Now()
	outcome := s.send(ctx, msg, notAfter)
	s.learn(msg.RequestID, began, outcome)
	return outcome
}

// learn lets what a call came to bear on those to come.
func (s *Sender) learn(requestID string, began time.Time, out domain.Outcome) {
	if out.Class == passcode.ClassThrottled {
		s.pacer.throttled(began)
	}
	s.breaker.learn(requestID, began, out)
}

func (s *Sender) send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome {
	request, refusal := s.request(msg)
	if refusal != nil {
		return *refusal
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, errCallTimeout)
	defer cancel()

	var response *dysmsapi.SendSmsResponse
	x, err := s.call(ctx, notAfter, func(client *dysmsapi.Client) (err error) {
		response, err = client.SendSmsWithOptions(request, &util.RuntimeOptions{})
		return err
	})
	if err != nil {
		return keysFault(ctx, err)
	}
	if !x.answered() {
		return faultOf(ctx, x)
	}
	return verdict(x, response, newScrubber(msg))
}

// call makes an exchange, and a second one with newer keys where the security
// token was refused. Its error is that there were no keys to sign with.
func (s *Sender) call(ctx context.Context, notAfter time.Time, do func(*dysmsapi.Client) error) (*exchange, error) {
	first, err := s.keys.get(ctx, nil)
	if err != nil {
		return nil, err
	}
	x := s.exchange(ctx, first, notAfter, do)
	if !x.answered() || !strings.HasPrefix(x.envelope.Code, invalidToken) {
		return x, nil
	}
	second, err := s.keys.get(ctx, first)
	if err != nil || second == first {
		// There is nothing better to sign with; the refusal is the outcome.
		return x, nil //nolint:nilerr // as said
	}
	return s.exchange(ctx, second, notAfter, do), nil
}

// verdict classifies a readable answer.
func verdict(x *exchange, response *dysmsapi.SendSmsResponse, scrub *scrubber) domain.Outcome {
	outcome := domain.Outcome{
		Class:             x.class(),
		Code:              scrub.code(x.envelope.Code),
		Message:           scrub.text(x.envelope.Message),
		ProviderRequestID: scrub.id(x.envelope.RequestID),
	}
	switch {
	case outcome.Class == passcode.ClassOK:
		// OK counts only where the SDK, the status and the receipt all agree.
		if x.sdkErr != nil || response == nil || response.Body == nil || value(response.Body.Code) != "OK" {
			outcome.Class, outcome.Code = passcode.ClassInDoubt, codeUnreadable
			outcome.Message = fmt.Sprintf("HTTP %d: OK, in an answer that could not be read", x.status)
		} else if !receipt(x.envelope.BizID) {
			outcome.Class, outcome.Code = passcode.ClassInDoubt, codeNoBizID
			outcome.Message = "OK without a BizId"
		} else {
			outcome.BizID = scrub.id(x.envelope.BizID)
		}
	case x.envelope.BizID != "":
		// A receipt is for what was accepted.
		outcome.Class, outcome.Code = passcode.ClassInDoubt, codeUnreadable
		outcome.Message = fmt.Sprintf("HTTP %d: a refusal with a BizId", x.status)
	case outcome.Class == passcode.ClassPhoneLimited:
		outcome.Window = windowOf(x.envelope.Message)
	}
	return outcome
}

// keysFault is the outcome where there was nothing to sign with.
func keysFault(ctx context.Context, err error) domain.Outcome {
	if !errors.Is(err, errCredentials) && !errors.Is(context.Cause(ctx), errCallTimeout) {
		code := ctxCode(ctx, false)
		return domain.Outcome{
			Class: passcode.ClassTransient, Code: code, Message: faultTexts[code] + "; nothing was sent",
			NotMade: code == codeCanceled,
		}
	}
	return domain.Outcome{
		Class: passcode.ClassAccount, Code: codeCredentials,
		Message: "no credentials could be had from the provider",
	}
}

// Pace waits until a call may be made at the current rate. The caller makes the
// call, or gives the turn back. The error is ctx's.
func (s *Sender) Pace(ctx context.Context) (giveBack func(), err error) { return s.pacer.wait(ctx) }

// Breaker says whether calls may be made at all.
func (s *Sender) Breaker() *Breaker { return s.breaker }

// Rate is how many calls a second may be made; +Inf is no bound, 0 that the
// breaker is open.
func (s *Sender) Rate() float64 { return s.pacer.rate() }

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
