package aliyun

import (
	"context"
	"net/http"
	"regexp"
	"slices"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Approval is what Aliyun has decided about a signature or a template.
type Approval string

// The approvals. Messages are sent with what is approved, and with nothing else.
const (
	Approved  Approval = "approved"
	Pending   Approval = "pending"
	Rejected  Approval = "rejected"
	Withdrawn Approval = "withdrawn"
	// OtherApproval is one that Aliyun's documents don't name.
	OtherApproval Approval = "unknown"
)

// approvals are the values of SignStatus and TemplateStatus, after the pages
// QuerySmsSign and QuerySmsTemplate.
var approvals = map[number]Approval{0: Pending, 1: Approved, 2: Rejected, 10: Withdrawn}

// Kind is what a template is for.
type Kind string

// The kinds.
const (
	Verification Kind = "verification"
	Notification Kind = "notification"
	Promotion    Kind = "promotion"
	// International is the one kind there is for numbers outside mainland China,
	// whatever the text is for.
	International Kind = "international"
	OtherKind     Kind = "unknown"
)

// kinds are the values of TemplateType, after the page QuerySmsTemplate.
var kinds = map[number]Kind{0: Verification, 1: Notification, 2: Promotion, 3: International}

// Review is Aliyun's decision about a signature or a template.
type Review struct {
	Approval Approval
	// Note is why it is not approved, in Aliyun's words; may be empty.
	Note string
}

// TemplateReview is what is known of a template.
type TemplateReview struct {
	Review
	Kind Kind
	// Variables are the names that the text has, each once, in its order.
	Variables []string
}

// ReviewSign asks for the state of a signature (QuerySmsSign). An error is an
// [*InquiryError].
func (s *Sender) ReviewSign(ctx context.Context, name string) (Review, error) {
	scrub := newScrubber(domain.Message{})
	var answer struct {
		SignStatus *number
		Reason     string
	}
	refused := ask(ctx, s, scrub, (*dysmsapi.Client).QuerySmsSignWithOptions,
		(&dysmsapi.QuerySmsSignRequest{}).SetSignName(name), &answer)
	if refused == nil && answer.SignStatus == nil {
		refused = unreadable(http.StatusOK)
	}
	if refused != nil {
		return Review{}, inquiryError(refused)
	}
	return review(*answer.SignStatus, answer.Reason, scrub), nil
}

// ReviewTemplate asks for the state of a template (QuerySmsTemplate). An error is
// an [*InquiryError].
func (s *Sender) ReviewTemplate(ctx context.Context, code string) (TemplateReview, error) {
	scrub := newScrubber(domain.Message{})
	var answer struct {
		TemplateStatus, TemplateType *number
		TemplateContent, Reason      string
	}
	refused := ask(ctx, s, scrub, (*dysmsapi.Client).QuerySmsTemplateWithOptions,
		(&dysmsapi.QuerySmsTemplateRequest{}).SetTemplateCode(code), &answer)
	if refused == nil && (answer.TemplateStatus == nil || answer.TemplateType == nil) {
		refused = unreadable(http.StatusOK)
	}
	if refused != nil {
		return TemplateReview{}, inquiryError(refused)
	}
	t := TemplateReview{Review: review(*answer.TemplateStatus, answer.Reason, scrub), Kind: OtherKind}
	if kind, known := kinds[*answer.TemplateType]; known {
		t.Kind = kind
	}
	t.Variables = variables(answer.TemplateContent)
	return t, nil
}

func review(status number, note string, scrub *scrubber) Review {
	approval, known := approvals[status]
	switch {
	case !known:
		approval = OtherApproval
	case approval == Approved:
		return Review{Approval: Approved} // whose note says that there is none
	}
	return Review{Approval: approval, Note: scrub.text(note)}
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
