package aliyun

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/wire"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// ask makes one call that changes nothing on the other side, bounded by
// [Options.Timeout], and decodes the answer. It goes through the SDK's generic call,
// which reaches actions that this version of the SDK has no method for. What that
// returns is not looked at: the SDK reads numbers out of truth values, and texts out
// of numbers.
func (s *Sender) ask(ctx context.Context, scrub *answer.Scrubber, action string, query map[string]string, into any) *answer.Failure {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, wire.ErrCallTimeout)
	defer cancel()
	params := (&openapi.Params{}).SetAction(action).SetVersion("2017-05-25").SetProtocol("HTTPS").SetPathname("/").
		SetMethod(http.MethodPost).SetAuthType("AK").SetStyle("RPC").SetReqBodyType("formData").SetBodyType("json")
	request := &openapi.OpenApiRequest{Query: map[string]*string{}}
	for name, value := range query {
		request.Query[name] = &value
	}
	x, err := s.call(ctx, time.Time{}, func(client *dysmsapi.Client) error {
		_, err := client.CallApi(params, request, &util.RuntimeOptions{})
		return err
	})
	if err != nil || !x.Answered() {
		class, code, text := noAnswer(ctx, x, err)
		return &answer.Failure{Action: action, Class: harmless(class), Code: code, Message: text}
	}
	if class := x.Envelope.Class(x.Status); class != passcode.ClassOK {
		return &answer.Failure{
			Action: action, Class: harmless(class), Code: scrub.Code(x.Envelope.Code), Message: scrub.Text(x.Envelope.Message),
			Answered: x.Envelope.RequestID != "",
		}
	}
	if x.SDKErr != nil || json.Unmarshal(x.Body, into) != nil {
		return unreadable(action, x.Status)
	}
	return nil
}

// harmless takes the doubt out of a class: asking twice does no harm.
func harmless(class passcode.Class) passcode.Class {
	if class == passcode.ClassInDoubt {
		return passcode.ClassTransient
	}
	return class
}

// unreadable is an answer that says OK and can't be the service's.
func unreadable(action string, status int) *answer.Failure {
	return &answer.Failure{
		Action: action, Class: passcode.ClassTransient, Code: answer.CodeUnreadable,
		Message: fmt.Sprintf("HTTP %d: %s", status, answer.Texts[answer.CodeUnreadable]),
	}
}

// Presence is what an endpoint shows to whoever comes without a key.
type Presence struct {
	// Status is the HTTP status of its answer; any will do.
	Status int
	// Ahead is how far its clock is ahead of ours, negative where it is behind.
	// The Date header counts whole seconds, so it is exact to half of one and the
	// time that making the connection took.
	Ahead time.Duration
	// Dated is false where the answer had no Date header that could be read, and
	// so nothing is known of its clock.
	Dated bool
}

// Knock asks the endpoint for its front page: no key, no signature, no parameter.
// Whatever it answers shows that it can be reached, and what its clock says,
// also where it would refuse every signed call because of that. An error is an
// [*answer.Failure].
func (s *Sender) Knock(ctx context.Context) (Presence, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, wire.ErrCallTimeout)
	defer cancel()
	x := s.wire.Do(ctx, s.opts.Now, time.Time{}, func(x *wire.Exchange) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.opts.Protocol+"://"+s.opts.Endpoint+"/", nil)
		if err == nil {
			_, err = x.Call(request, nil) //nolint:bodyclose // it is in memory
		}
		return err
	})
	if x.Status == 0 {
		class, code, text := noAnswer(ctx, x, nil)
		if handshake := x.Handshake(); handshake != nil {
			// Nothing confidential is in this request, so the handshake may say for itself
			// what is wrong with it.
			text = answer.NewScrubber(domain.Message{}).Text(handshake.Error())
		}
		return Presence{}, &answer.Failure{Class: harmless(class), Code: code, Message: text}
	}
	p := Presence{Status: x.Status}
	// The fraction of a second that the header leaves out is half of one on
	// average, and it was written halfway between question and answer.
	if date, err := http.ParseTime(x.Date); err == nil {
		p.Ahead, p.Dated = date.Add(time.Second/2).Sub(x.Began.Add(x.Took/2)), true
	}
	return p, nil
}
