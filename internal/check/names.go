package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// question is a signature or template that Aliyun is asked about.
type question struct {
	check, name string
	ask         func() ([]judgement, *answer.Failure) // asks once, and then repeats the answer
}

type reviewer func(ctx context.Context, name string) ([]judgement, error)

func (r *run) question(check, name string, review reviewer) *question {
	return &question{check, name, sync.OnceValues(func() ([]judgement, *answer.Failure) {
		ctx, cancel := r.bounded()
		defer cancel()
		judgements, err := review(ctx, name)
		return judgements, failureOf(err)
	})}
}

// questions lists each signature that a template uses, and each template code.
func (r *run) questions() (signs, templates []*question) {
	cfg := r.Config.Aliyun
	add := func(list *[]*question, check, name string, review reviewer) {
		if name != "" && !slices.ContainsFunc(*list, func(q *question) bool { return q.name == name }) {
			*list = append(*list, r.question(check, name, review))
		}
	}
	if len(cfg.Templates) == 0 {
		add(&signs, checkSignature, cfg.SignName, r.reviewSign)
	}
	for _, t := range cfg.Templates {
		add(&signs, checkSignature, cmp.Or(t.SignName, cfg.SignName), r.reviewSign)
		add(&templates, checkTemplate, t.TemplateCode.China, r.reviewTemplate)
		add(&templates, checkTemplate, t.TemplateCode.Overseas, r.reviewTemplate)
	}
	return signs, templates
}

func (r *run) reviewSign(ctx context.Context, name string) ([]judgement, error) {
	review, err := r.Aliyun.ReviewSign(ctx, name)
	return judgeSign(review), err
}

func (r *run) reviewTemplate(ctx context.Context, code string) ([]judgement, error) {
	review, err := r.Aliyun.ReviewTemplate(ctx, code)
	return []judgement{judgeTemplate(review, code, r.Config.Aliyun.Templates)}, err
}

// notApproved explains the documented approvals, except the good one.
var notApproved = map[aliyun.Approval]string{
	aliyun.Pending:   "Aliyun is still reviewing it",
	aliyun.Rejected:  "Aliyun has rejected it",
	aliyun.Withdrawn: "its application was withdrawn",
}

const undocumented = "is in a state that is not documented"

// judgeApproval judges whether something may be used; key is the setting that names it.
func judgeApproval(review aliyun.Review, key string) judgement {
	if review.Approval == aliyun.Approved {
		return judgement{OK, "approved", ""}
	}
	detail := "not approved: " + cmp.Or(notApproved[review.Approval], "it "+undocumented)
	if review.Note != "" {
		detail += " (" + review.Note + ")"
	}
	if review.Approval == aliyun.Pending {
		return judgement{Fail, detail, "wait for the review, or change " + key}
	}
	return judgement{Fail, detail, "have it approved in Aliyun's console, or change " + key}
}

// filings judges a signature's filing at a carrier, which may refuse messages without.
var filings = map[aliyun.FilingState]judgement{
	aliyun.Unproven:      {Warn, "has it on file, and it is not proven yet that messages arrive", "send a few to numbers of that carrier, and look at their reports"},
	aliyun.FilingPending: {Warn, "has not answered the filing yet", "wait for it; until then send few messages to that carrier's numbers"},
	aliyun.FilingRefused: {Fail, "refused to file it", "see the reason in Aliyun's console, correct the qualification and file it again"},
	aliyun.Lapsed:        {Fail, "let the filing lapse, since nothing was sent for six months", "file it again in Aliyun's console"},
	aliyun.NotFiled:      {Fail, "does not have it on file", "give the signature a complete qualification in Aliyun's console, which files it"},
}

var carriers = map[string]string{"mobile": "China Mobile", "unicom": "China Unicom", "telecom": "China Telecom"}

// judgeSign judges a signature: its approval, and each carrier that doesn't have it on file.
func judgeSign(review aliyun.Review) []judgement {
	approval := judgeApproval(review, "aliyun.sign_name")
	if approval.status != OK {
		return []judgement{approval}
	}
	var filed []string
	var open []judgement
	for _, f := range review.Filings {
		carrier := cmp.Or(carriers[f.Carrier], f.Carrier)
		if f.State == aliyun.Filed {
			filed = append(filed, carrier)
			continue
		}
		j, known := filings[f.State]
		if !known {
			j = judgement{Warn, undocumented, "look at the signature in Aliyun's console"}
		}
		j.detail = carrier + " " + j.detail
		if len(f.Reasons) > 0 {
			j.detail += " (" + strings.Join(f.Reasons, ", ") + ")"
		}
		open = append(open, j)
	}
	if len(filed) > 0 {
		approval.detail += ", and filed with " + strings.Join(filed, ", ")
	}
	return append([]judgement{approval}, open...)
}

var kinds = map[aliyun.Kind]string{aliyun.Notification: "notification", aliyun.Promotion: "promotion"}

// judgeTemplate judges a template by what the settings use it for.
func judgeTemplate(review aliyun.Review, code string, templates []domain.Template) judgement {
	const key = "aliyun.templates"
	j := judgeApproval(review, key)
	if j.status != OK {
		return j
	}
	var mainlandOnly, both bool
	for _, t := range templates {
		inChina, abroad := t.TemplateCode.China == code, t.TemplateCode.Overseas == code
		mainlandOnly = mainlandOnly || inChina && !abroad
		both = both || inChina && abroad
		// The code is always sent.
		unsent := slices.IndexFunc(review.Variables, func(name string) bool { return name != "code" && !slices.Contains(t.Params, name) })
		if unsent >= 0 && (inChina || abroad) {
			return judgement{Fail,
				fmt.Sprintf("approved, and has the variable %s, which usage type %s does not send", review.Variables[unsent], t.UsageType),
				"list it in params there, or change " + key}
		}
	}
	switch {
	case review.Kind == aliyun.Verification:
		j.detail += ", for verification codes"
		return j
	case review.Kind != aliyun.International:
		return judgement{Fail, "approved, and no verification template: its kind is " + cmp.Or(kinds[review.Kind], "unknown"),
			"change " + key + " to a template for verification codes"}
	case mainlandOnly:
		return judgement{Fail, "approved for numbers outside mainland China alone, and set for mainland numbers",
			"change template_code.china in " + key}
	case both:
		return judgement{Warn, "approved for numbers outside mainland China alone: those of the mainland are refused",
			"where passcodes go there, set template_code.china in " + key}
	default:
		j.detail += ", for numbers outside mainland China"
		return j
	}
}

// questionFailures is what a failure says of a signature or template (THING) that Aliyun was asked about by CALL.
var questionFailures = map[answer.Reason]judgement{
	answer.NotListed:   {Fail, "not approved: the account has no such THING", "have it approved in Aliyun's console, or change the settings"},
	answer.NotAllowed:  {Warn, "can't be checked: the access key may not call CALL", "allow dysms:CALL to its RAM user; sending may work without"},
	answer.NotOffered:  {Warn, "can't be checked: this endpoint does not serve CALL", "look it up in Aliyun's console"},
	answer.Busy:        {Warn, "can't be checked: Aliyun is busy", "run it again"},
	answer.Unreachable: {Fail, "no answer to CALL", "run it again; look at aliyun.timeout and the network"},
	answer.Unreadable:  {Fail, "no answer to CALL", "run it again; look at aliyun.timeout and the network"},
	answer.Refused:     {Fail, "Aliyun refuses to tell", "look the code up in Aliyun's documents"},
}

// tell puts a question and reports its answer. It returns false if there is no use in asking more.
func (r *run) tell(q *question) bool {
	answers, failure := q.ask()
	if failure == nil {
		for _, j := range answers {
			r.add(q.check, q.name, j)
		}
		return true
	}
	r.add(q.check, q.name, explain(questionFailures, failure, "THING", q.check, "CALL", failure.Action))
	return failure.Reason() != answer.Unreachable && failure.Reason() != answer.Unreadable
}

// explain finds the words for a failure, and fills names into them.
func explain(words map[answer.Reason]judgement, failure *answer.Failure, names ...string) judgement {
	j, known := words[failure.Reason()]
	if !known {
		j = words[answer.Refused]
	}
	fill := strings.NewReplacer(names...)
	return judgement{j.status, fill.Replace(j.detail) + " (" + failure.Error() + ")", fill.Replace(j.fix)}
}

func failureOf(err error) (failure *answer.Failure) {
	if err != nil && !errors.As(err, &failure) {
		failure = &answer.Failure{Code: err.Error()}
	}
	return failure
}
