package aliyun

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"slices"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Approval is what Aliyun has decided about a signature or a template: SignStatus and
// TemplateStatus, after the pages GetSmsSign and GetSmsTemplate.
type Approval int

// The approvals. Messages are sent with what is approved, and with nothing else.
const (
	Pending   Approval = 0
	Approved  Approval = 1
	Rejected  Approval = 2
	Withdrawn Approval = 10
)

// Kind is what a template is for: TemplateType, after the page GetSmsTemplate.
type Kind int

// The kinds. International is the one kind there is for numbers outside mainland
// China, whatever the text is for.
const (
	Verification  Kind = 0
	Notification  Kind = 1
	Promotion     Kind = 2
	International Kind = 3
)

// FilingState is whether a carrier has a signature on file, by its owner's real name:
// RegisterStatus, after the page GetSmsSign.
type FilingState int

// The states of a filing.
const (
	NotFiled      FilingState = -2
	FilingPending FilingState = -1
	FilingRefused FilingState = 0
	Unproven      FilingState = 1 // filed, and Aliyun has not seen yet that messages arrive
	Lapsed        FilingState = 2 // nothing was sent for six months
	Filed         FilingState = 3
	OtherFiling   FilingState = -99 // none is told
)

// Filing is the state of a signature at one carrier.
type Filing struct {
	Carrier string // mobile, unicom or telecom
	State   FilingState
	Reasons []string // codes, such as REGISTER_TIMEOUT; may be empty
}

// Review is Aliyun's decision about a signature or a template.
type Review struct {
	Approval Approval
	// Note is why it is not approved, in Aliyun's words; may be empty.
	Note string
}

// SignReview is what is known of a signature.
type SignReview struct {
	Review
	// Filings is empty where the endpoint tells nothing of them.
	Filings []Filing
}

// TemplateReview is what is known of a template.
type TemplateReview struct {
	Review
	Kind Kind
	// Variables are the names that the text has, each once, in its order.
	Variables []string
}

// reviewAnswer holds what both generations of questions answer.
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

// review puts a question in its present form, and in its older one where that gets no
// answer that can be read: the endpoint may not serve the present form, and the access
// key's user may not be allowed to ask it.
func (s *Sender) review(ctx context.Context, scrub *answer.Scrubber, present, older, name, value string,
	complete func(*reviewAnswer) bool,
) (*reviewAnswer, *answer.Failure) {
	ask := func(action string) (*reviewAnswer, *answer.Failure) {
		var got reviewAnswer
		failure := s.ask(ctx, scrub, action, map[string]string{name: value}, &got)
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

// ReviewSign asks for the state of a signature (GetSmsSign or QuerySmsSign). An error
// is an [*answer.Failure].
func (s *Sender) ReviewSign(ctx context.Context, name string) (SignReview, error) {
	scrub := answer.NewScrubber(domain.Message{})
	got, failure := s.review(ctx, scrub, "GetSmsSign", "QuerySmsSign", "SignName", name,
		func(a *reviewAnswer) bool { return a.SignStatus != nil })
	if failure != nil {
		return SignReview{}, failure
	}
	review := SignReview{Review: got.decision(*got.SignStatus, scrub)}
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

// ReviewTemplate asks for the state of a template (GetSmsTemplate or
// QuerySmsTemplate). An error is an [*answer.Failure].
func (s *Sender) ReviewTemplate(ctx context.Context, code string) (TemplateReview, error) {
	scrub := answer.NewScrubber(domain.Message{})
	got, failure := s.review(ctx, scrub, "GetSmsTemplate", "QuerySmsTemplate", "TemplateCode", code,
		func(a *reviewAnswer) bool { return a.TemplateStatus != nil && a.TemplateType != nil })
	if failure != nil {
		return TemplateReview{}, failure
	}
	return TemplateReview{
		Review:    got.decision(*got.TemplateStatus, scrub),
		Kind:      Kind(*got.TemplateType),
		Variables: variables(got.TemplateContent),
	}, nil
}

func (a *reviewAnswer) decision(status answer.Number, scrub *answer.Scrubber) Review {
	approval := Approval(status)
	if approval == Approved {
		return Review{Approval: Approved} // whose note says that there is none
	}
	return Review{Approval: approval, Note: scrub.Text(cmp.Or(a.AuditInfo.RejectInfo, a.Reason))}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z0-9_]{1,64})\}`)

// variables lists the names in the text of a template, "${code}" and so on.
func variables(text string) []string {
	var names []string
	for _, found := range variable.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, found[1]) {
			names = append(names, found[1])
		}
	}
	return names
}
