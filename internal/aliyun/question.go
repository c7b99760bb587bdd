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

// ask puts a question, a call that changes nothing at Aliyun, within [Options.Timeout],
// and decodes the answer. The SDK doesn't decode it: it would take true for a number, and
// a number for a text.
func (s *Sender) ask(
	ctx context.Context, scrub *answer.Scrubber, action string, query map[string]*string, into any,
) *answer.Failure {
	x, failure := s.call(ctx, time.Time{}, func(client *dysmsapi.Client) error {
		params := (&openapi.Params{}).SetAction(action).SetVersion("2017-05-25").SetProtocol("HTTPS").SetPathname("/").
			SetMethod(http.MethodPost).SetAuthType("AK").SetStyle("RPC").SetReqBodyType("formData").SetBodyType("json")
		_, err := client.CallApi(params, (&openapi.OpenApiRequest{}).SetQuery(query), &util.RuntimeOptions{})
		return err
	})
	switch {
	case failure != nil:
	case x.Envelope.Class(x.Status) != passcode.ClassOK:
		failure = &answer.Failure{
			Class: x.Envelope.Class(x.Status), Code: scrub.Code(x.Envelope.Code), Message: scrub.Text(x.Envelope.Message),
			Answered: x.Envelope.RequestID != "",
		}
	case x.SDKErr != nil || json.Unmarshal(x.Body, into) != nil:
		return unreadable(action, x.Status)
	default:
		return nil
	}
	return harmless(action, failure)
}

// harmless is a failed question: it is not in doubt, as asking twice does no harm.
func harmless(action string, failure *answer.Failure) *answer.Failure {
	failure.Action = action
	if failure.Class == passcode.ClassInDoubt {
		failure.Class = passcode.ClassTransient
	}
	return failure
}

// unreadable is an answer that says OK and can't be the service's.
func unreadable(action string, status int) *answer.Failure {
	text := fmt.Sprintf("HTTP %d: %s", status, answer.Texts[answer.CodeUnreadable])
	return &answer.Failure{Action: action, Class: passcode.ClassTransient, Code: answer.CodeUnreadable, Message: text}
}

// Presence is what an endpoint's answer shows without a key.
type Presence struct {
	Dated bool // the answer told the time
	// Ahead is how far its clock is ahead of ours, exact to half a second and the time
	// that connecting took.
	Ahead time.Duration
}

// Knock asks the endpoint for its front page, without key or parameter. Any answer
// shows that it can be reached, and what its clock says, even if it would refuse
// every signed call because of the time. An error is an [*answer.Failure].
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
		failure := noAnswer(ctx, x)
		if handshake := x.Handshake(); handshake != nil {
			// This request holds nothing confidential, so the error may be shown.
			failure.Message = answer.NewScrubber(domain.Message{}).Text(handshake.Error())
		}
		return Presence{}, harmless("", failure)
	}
	date, err := http.ParseTime(x.Date)
	if err != nil {
		return Presence{}, nil // it has answered, without a time that can be read
	}
	// The header counts whole seconds, and was written halfway between question and
	// answer.
	return Presence{Dated: true, Ahead: date.Add(time.Second / 2).Sub(x.Began.Add(x.Took / 2))}, nil
}
