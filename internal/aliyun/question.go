package aliyun

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/wire"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Approval is Aliyun's decision about a signature or a template: SignStatus and
// TemplateStatus on the pages GetSmsSign and GetSmsTemplate.
type Approval int

// The approvals. Only what is approved can be used.
const (
	Pending   Approval = 0
	Approved  Approval = 1
	Rejected  Approval = 2
	Withdrawn Approval = 10
)

// Kind is what a template is for: TemplateType on the page GetSmsTemplate.
type Kind int

// The kinds. International is the only one for numbers outside mainland China.
const (
	Verification  Kind = 0
	Notification  Kind = 1
	Promotion     Kind = 2
	International Kind = 3
)

// FilingState is whether a carrier has a signature on file: RegisterStatus on the page GetSmsSign.
type FilingState int

// The states of a filing.
const (
	NotFiled      FilingState = -2
	FilingPending FilingState = -1
	FilingRefused FilingState = 0
	Unproven      FilingState = 1 // filed, and Aliyun has not seen yet that messages arrive
	Lapsed        FilingState = 2 // nothing was sent for six months
	Filed         FilingState = 3
	OtherFiling   FilingState = -99 // the answer names none
)

// Filing is the state of a signature at one carrier.
type Filing struct {
	Carrier string // mobile, unicom or telecom
	State   FilingState
	Reasons []string // codes, such as REGISTER_TIMEOUT
}

// Review is what Aliyun says of a signature or a template.
type Review struct {
	Approval Approval
	Note     string // why it is not approved, in Aliyun's words; may be empty

	Filings []Filing // of a signature, if the endpoint tells them

	Kind      Kind     // of a template
	Variables []string // of a template: the names in its text, each once
}

// reviewAnswer is the answer to both generations of questions.
type reviewAnswer struct {
	SignStatus, TemplateStatus, TemplateType *answer.Number
	TemplateContent                          string
	Reason                                   string
	AuditInfo                                struct{ RejectInfo string }
	SignIspRegisterDetailList                []struct {
		OperatorCode          string
		RegisterStatus        *answer.Number
		RegisterStatusReasons []struct{ ReasonCode string }
	}
}

// review asks by the present action, and by its older form if that gets no readable
// answer, or if the endpoint or the key's user may not use it. Both take the same parameter.
func (s *Sender) review(
	ctx context.Context, scrub *answer.Scrubber, present, older, parameter, value string, complete func(*reviewAnswer) bool,
) (*reviewAnswer, *answer.Failure) {
	ask := func(action string) (*reviewAnswer, *answer.Failure) {
		var got reviewAnswer
		failure := s.ask(ctx, scrub, action, &got, func(client *dysmsapi.Client) error {
			request := (&openapi.OpenApiRequest{}).SetQuery(map[string]*string{parameter: &value})
			_, err := client.CallApi(callOf(action), request, &util.RuntimeOptions{})
			return err
		})
		if failure == nil && !complete(&got) {
			failure = unreadable(action, http.StatusOK)
		}
		return &got, failure
	}
	got, failure := ask(present)
	if failure == nil {
		return got, nil
	}
	reason := failure.Reason()
	if reason != answer.NotOffered && reason != answer.NotAllowed && reason != answer.Unreadable {
		return nil, failure
	}
	got, olderFailure := ask(older)
	if olderFailure != nil && (olderFailure.Reason() == answer.NotOffered || olderFailure.Reason() == reason) {
		return nil, failure
	}
	return got, olderFailure
}

// ReviewSign asks for the state of a signature. An error is an [*answer.Failure].
func (s *Sender) ReviewSign(ctx context.Context, name string) (Review, error) {
	scrub := answer.NewScrubber(domain.Message{})
	got, failure := s.review(ctx, scrub, "GetSmsSign", "QuerySmsSign", "SignName", name,
		func(a *reviewAnswer) bool { return a.SignStatus != nil })
	if failure != nil {
		return Review{}, failure
	}
	review := got.decision(*got.SignStatus, scrub)
	for _, detail := range got.SignIspRegisterDetailList {
		filing := Filing{Carrier: scrub.Code(detail.OperatorCode), State: OtherFiling}
		if detail.RegisterStatus != nil {
			filing.State = FilingState(*detail.RegisterStatus)
		}
		for _, reason := range detail.RegisterStatusReasons {
			filing.Reasons = append(filing.Reasons, scrub.Code(reason.ReasonCode))
		}
		review.Filings = append(review.Filings, filing)
	}
	return review, nil
}

// ReviewTemplate asks for the state of a template. An error is an [*answer.Failure].
func (s *Sender) ReviewTemplate(ctx context.Context, code string) (Review, error) {
	scrub := answer.NewScrubber(domain.Message{})
	got, failure := s.review(ctx, scrub, "GetSmsTemplate", "QuerySmsTemplate", "TemplateCode", code,
		func(a *reviewAnswer) bool { return a.TemplateStatus != nil && a.TemplateType != nil })
	if failure != nil {
		return Review{}, failure
	}
	review := got.decision(*got.TemplateStatus, scrub)
	review.Kind = Kind(*got.TemplateType)
	for _, found := range variable.FindAllStringSubmatch(got.TemplateContent, -1) {
		if !slices.Contains(review.Variables, found[1]) {
			review.Variables = append(review.Variables, found[1])
		}
	}
	return review, nil
}

// variable is one in the text of a template, "${code}" for example.
var variable = regexp.MustCompile(`\$\{([A-Za-z0-9_]{1,64})\}`)

func (a *reviewAnswer) decision(status answer.Number, scrub *answer.Scrubber) Review {
	if Approval(status) == Approved {
		return Review{Approval: Approved} // its note only says that there is none
	}
	return Review{Approval: Approval(status), Note: scrub.Text(cmp.Or(a.AuditInfo.RejectInfo, a.Reason))}
}

// ask puts a question, a call that changes nothing at Aliyun, within [Options.Timeout], and decodes the answer.
// What the SDK has decoded isn't used: it takes true for a number, and a number for a text.
func (s *Sender) ask(
	ctx context.Context, scrub *answer.Scrubber, action string, into any, call func(*dysmsapi.Client) error,
) *answer.Failure {
	x, failure := s.call(ctx, time.Time{}, call)
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
	// Ahead is how far its clock is ahead of ours, exact to half a second and the time that connecting took.
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
	// The header counts whole seconds, and was written halfway between question and answer.
	return Presence{Dated: true, Ahead: date.Add(time.Second / 2).Sub(x.Began.Add(x.Took / 2))}, nil
}
