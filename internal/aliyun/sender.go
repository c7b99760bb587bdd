// Package aliyun sends passcodes through Aliyun SMS (Dysmsapi 2017-05-25) with the
// official SDK, and asks what became of doubtful sends. No type of the SDK leaves it.
//
// Aliyun has no idempotency key, so everything depends on one question: did any byte of the request leave this
// process? Package wire knows. If none did, another attempt is harmless (class transient). If some did and no
// readable answer came, the message may have been accepted (class in_doubt).
//
// Phone and passcode are in the URL's query. So no error of net/http or the SDK is
// passed on, only texts of ours, and Aliyun's code and message after scrubbing.
package aliyun

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/pace"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/wire"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options are the settings of a [Sender], which the caller has checked.
type Options struct {
	Endpoint    string // host or host:port
	Protocol    string // "https" or, for an emulator, "http"
	Credentials Credentials
	SignName    string // of every template that has none of its own
	// The first template of the usage type is used, else the first of Generic. Without a
	// code for mainland or other numbers, messages to those are refused with class config.
	Templates      []domain.Template
	ConnectTimeout time.Duration  // of one TCP connect, and again of one TLS handshake
	Timeout        time.Duration  // of a whole call, from credentials to the answer's last byte
	MaxQPS         float64        // how many calls a second [Sender.Pace] allows; 0 is no cap
	Concurrency    int            // how many connections are kept idle: one for each send at a time
	RootCAs        *x509.CertPool // nil: the system's

	Now    func() time.Time
	Logger *slog.Logger // for the outage breaker
}

// Credentials are an access key, and a security token if it is a temporary one. The
// zero value is the SDK's default chain: environment, OIDC, profile, instance role.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret passcode.Secret
	SecurityToken   passcode.Secret
}

// Sender sends messages and looks them up. It is safe for concurrent use.
type Sender struct {
	*pace.OutageBreaker // observes every call

	opts Options
	sdk  *dysmsapi.Client // each call uses a copy
	wire *wire.Client
	keys *keyRing
}

// New returns a sender. It makes no call.
func New(o Options) (*Sender, error) {
	if err := checkDebug(os.Getenv("DEBUG")); err != nil {
		return nil, fmt.Errorf("aliyun: %w", err)
	}
	sdk, err := dysmsapi.NewClient(&openapi.Config{
		Endpoint: &o.Endpoint,
		Protocol: &o.Protocol,
		// Otherwise the SDK reads a proxy from the environment, although it uses our
		// transport: a bad one fails the call, a good one adds its password to our headers.
		NoProxy: &o.Endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("aliyun: make the SDK's client: %w", err)
	}
	return &Sender{
		OutageBreaker: pace.New(o.MaxQPS, o.Timeout, o.Now, o.Logger),
		opts:          o,
		sdk:           sdk,
		wire:          wire.New(o.ConnectTimeout, o.Timeout, o.Concurrency, o.RootCAs),
		keys:          newKeyRing(o.Credentials, o.Now),
	}, nil
}

// checkDebug refuses the values of DEBUG with which the SDK prints whole requests, passcodes included. The SDK
// reads the variable before main begins, so all we can do is not to start.
func checkDebug(value string) error {
	for flag := range strings.SplitSeq(value, ",") {
		if slices.Contains([]string{"dara", "tea", "credential"}, flag) {
			return fmt.Errorf("the environment variable DEBUG must not hold %q: the SDK would print passcodes and keys", flag)
		}
	}
	return nil
}

// Close releases connections and ends what runs in the background. No call may be in progress.
func (s *Sender) Close() {
	s.keys.wg.Wait() // for a fetch in progress, which the SDK's providers end in a few seconds
	s.wire.Close()
}

// Send makes one attempt and classifies its outcome. It takes at most [Options.Timeout]. It repeats nothing but a
// call whose security token was refused, once, with newer keys if there are any: such a call sent nothing.
//
// Nothing is written after notAfter (zero: no such bound), even if the process was
// frozen in between. The outcome is then transient, "too_late". If ctx ends before
// anything was written it is transient, "canceled"; afterwards it is in_doubt.
func (s *Sender) Send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome {
	began := s.opts.Now()
	outcome := s.send(ctx, msg, notAfter)
	s.Observe(msg.RequestID, began, outcome)
	return outcome
}

func (s *Sender) send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome {
	request, refusal := s.request(msg)
	if refusal != nil {
		return *refusal
	}
	var response map[string]any
	x, failure := s.call(ctx, notAfter, func(client *dysmsapi.Client) (err error) {
		response, err = client.CallApi(sendSmsCall, genericRequest(request), &util.RuntimeOptions{})
		return err
	})
	if failure == nil {
		return outcomeOf(x, response, answer.NewScrubber(msg))
	}
	outcome := domain.Outcome{Class: failure.Class, Code: failure.Code, Message: failure.Message}
	switch failure.Class {
	case passcode.ClassInDoubt:
		outcome.Message += "; the request had been written"
	case passcode.ClassTransient:
		outcome.Message += "; nothing was sent"
		outcome.NotMade = failure.Code == answer.CodeTooLate || failure.Code == answer.CodeCanceled
	default:
	}
	return outcome
}

// call makes an exchange within [Options.Timeout], and a second one with newer keys if
// the security token was refused. A failure means that there is no readable answer.
func (s *Sender) call(ctx context.Context, notAfter time.Time, do func(*dysmsapi.Client) error) (*wire.Exchange, *answer.Failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, wire.ErrCallTimeout)
	defer cancel()
	exchange := func(keys *keys) *wire.Exchange {
		return s.wire.Do(ctx, s.opts.Now, notAfter, func(x *wire.Exchange) error {
			client := *s.sdk // a call writes to the client's fields
			client.Credential, client.HttpClient = keys, x
			return do(&client)
		})
	}
	first, err := s.keys.get(ctx, nil)
	if err != nil {
		return nil, withoutKeys(ctx, err)
	}
	x := exchange(first)
	if x.Answered() && answer.TokenRefused(x.Envelope.Code) {
		if second, err := s.keys.get(ctx, first); err == nil && second != first {
			x = exchange(second)
		}
	}
	if !x.Answered() {
		return nil, noAnswer(ctx, x)
	}
	return x, nil
}

// outcomeOf classifies a readable answer.
func outcomeOf(x *wire.Exchange, response map[string]any, scrub *answer.Scrubber) domain.Outcome {
	outcome := domain.Outcome{
		Class:             x.Envelope.Class(x.Status),
		Code:              scrub.Code(x.Envelope.Code),
		Message:           scrub.Text(x.Envelope.Message),
		ProviderRequestID: scrub.ID(x.Envelope.RequestID),
	}
	doubt := func(code, message string) {
		outcome.Class, outcome.Code, outcome.Message = passcode.ClassInDoubt, code, message
	}
	switch {
	case outcome.Class == passcode.ClassOK:
		// OK counts only if the SDK, the status and the BizId agree.
		body, _ := response["body"].(map[string]any)
		if !x.Plain && (x.SDKErr != nil || body["Code"] != "OK") {
			doubt(answer.CodeUnreadable, fmt.Sprintf("HTTP %d: OK, in an answer that could not be read", x.Status))
		} else if !answer.IsID(x.Envelope.BizID) {
			doubt(answer.CodeNoBizID, answer.Texts[answer.CodeNoBizID])
		} else {
			outcome.BizID = scrub.ID(x.Envelope.BizID)
		}
	case x.Envelope.BizID != "":
		doubt(answer.CodeUnreadable, fmt.Sprintf("HTTP %d: a refusal with a BizId", x.Status))
	case outcome.Class == passcode.ClassPhoneLimited:
		outcome.Window = answer.WindowOf(x.Envelope.Message)
	}
	return outcome
}

// withoutKeys classifies a call for which there were no keys to sign with.
func withoutKeys(ctx context.Context, err error) *answer.Failure {
	class, code := passcode.ClassAccount, answer.CodeCredentials
	if !errors.Is(err, errCredentials) && !errors.Is(context.Cause(ctx), wire.ErrCallTimeout) {
		class, code = passcode.ClassTransient, wire.EndCode(ctx, false)
	}
	return &answer.Failure{Class: class, Code: code, Message: answer.Texts[code]}
}

// noAnswer classifies a call without a readable answer, by whether bytes of the request were written.
func noAnswer(ctx context.Context, x *wire.Exchange) *answer.Failure {
	if !x.Built {
		return &answer.Failure{Class: passcode.ClassConfig, Code: answer.CodeNotBuilt, Message: answer.Texts[answer.CodeNotBuilt]}
	}
	class := passcode.ClassTransient
	if x.Written {
		class = passcode.ClassInDoubt
	}
	code, text := x.Fault(ctx)
	return &answer.Failure{Class: class, Code: code, Message: text}
}
