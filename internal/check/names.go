package check

import (
	"context"
	"fmt"
	"slices"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

// question is one signature or template that Aliyun is asked about, once however
// many templates of the settings use it.
type question struct {
	check, name string
	ask         func(context.Context) outcome
}

// outcome is a question's answer, judged, or why there is none.
type outcome struct {
	status       Status
	detail, mend string
	err          error
}

// put asks a question, within its bound.
func (r *run) put(q question) outcome {
	ctx, cancel := r.bounded()
	defer cancel()
	return q.ask(ctx)
}

// questions lists each signature that a template uses, and each template code.
func (r *run) questions() (forSigns, forTemplates []question) {
	cfg := r.Config.Aliyun
	var signs, codes []string
	add := func(list []string, names ...string) []string {
		for _, name := range names {
			if name != "" && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		return list
	}
	if len(cfg.Templates) == 0 {
		signs = add(signs, cfg.SignName)
	}
	for _, t := range cfg.Templates {
		if t.SignName == "" {
			t.SignName = cfg.SignName
		}
		signs = add(signs, t.SignName)
		codes = add(codes, t.TemplateCode.China, t.TemplateCode.Overseas)
	}
	for _, name := range signs {
		forSigns = append(forSigns, r.signQuestion(name))
	}
	for _, code := range codes {
		forTemplates = append(forTemplates, r.templateQuestion(code))
	}
	return forSigns, forTemplates
}

func (r *run) signQuestion(name string) question {
	return question{checkSignature, name, func(ctx context.Context) outcome {
		review, err := r.Aliyun.ReviewSign(ctx, name)
		if err != nil {
			return outcome{err: err}
		}
		return judgeApproval(review, "aliyun.sign_name")
	}}
}

func (r *run) templateQuestion(code string) question {
	return question{checkTemplate, code, func(ctx context.Context) outcome {
		review, err := r.Aliyun.ReviewTemplate(ctx, code)
		if err != nil {
			return outcome{err: err}
		}
		return judgeTemplate(review, code, r.Config.Aliyun.Templates)
	}}
}

// judgeApproval judges whether something may be used; key is where it is set.
func judgeApproval(review aliyun.Review, key string) outcome {
	detail := map[aliyun.Approval]string{
		aliyun.Pending:       "not approved: Aliyun is still reviewing it",
		aliyun.Rejected:      "not approved: Aliyun has rejected it",
		aliyun.Withdrawn:     "not approved: its application was withdrawn",
		aliyun.OtherApproval: "not approved: it is in a state that is not documented",
	}[review.Approval]
	if detail == "" {
		return outcome{status: OK, detail: "approved"}
	}
	if review.Note != "" {
		detail += " (" + review.Note + ")"
	}
	mend := "have it approved in Aliyun's console, or change " + key
	if review.Approval == aliyun.Pending {
		mend = "wait for the review, or change " + key
	}
	return outcome{status: Fail, detail: detail, mend: mend}
}

// judgeTemplate judges a template by what the settings use it for.
func judgeTemplate(review aliyun.TemplateReview, code string, templates []config.Template) outcome {
	const key = "aliyun.templates"
	o := judgeApproval(review.Review, key)
	if o.status != OK {
		return o
	}
	var mainlandOnly, both bool
	for _, t := range templates {
		inChina, abroad := t.TemplateCode.China == code, t.TemplateCode.Overseas == code
		mainlandOnly = mainlandOnly || inChina && !abroad
		both = both || inChina && abroad
		if lacks := unsent(review.Variables, t.Params); lacks != "" && (inChina || abroad) {
			return outcome{status: Fail,
				detail: fmt.Sprintf("approved, and has the variable %s, which usage type %s does not send", lacks, t.UsageType),
				mend:   "list it in params there, or change " + key,
			}
		}
	}
	switch {
	case review.Kind == aliyun.Verification:
		o.detail += ", for verification codes"
	case review.Kind != aliyun.International:
		return outcome{status: Fail,
			detail: fmt.Sprintf("approved, and no verification template: its kind is %s", review.Kind),
			mend:   "change " + key + " to a template for verification codes",
		}
	case mainlandOnly:
		return outcome{status: Fail,
			detail: "approved for numbers outside mainland China alone, and set for mainland numbers",
			mend:   "change template_code.china in " + key,
		}
	case both:
		return outcome{status: Warn,
			detail: "approved for numbers outside mainland China alone: those of the mainland are refused",
			mend:   "where passcodes go there, set template_code.china in " + key,
		}
	default:
		o.detail += ", for numbers outside mainland China"
	}
	return o
}

// unsent returns a variable of a template that messages lack, or "". The code is
// always sent.
func unsent(variables, params []string) string {
	for _, name := range variables {
		if name != "code" && !slices.Contains(params, name) {
			return name
		}
	}
	return ""
}

// tell reports the outcome of a question. It returns false where further ones
// would bring no more.
func (r *run) tell(q question, o outcome) bool {
	if o.err == nil {
		r.add(o.status, q.check, q.name, o.detail, o.mend)
		return true
	}
	call, thing, said := "QuerySmsSign", q.check, " ("+o.err.Error()+")"
	if q.check == checkTemplate {
		call = "QuerySmsTemplate"
	}
	switch reasonOf(o.err) {
	case aliyun.NotListed:
		r.fail(q.check, q.name, "not approved: the account has no such "+thing+said, "have it approved in Aliyun's console, or change the settings")
	case aliyun.NotAllowed:
		r.warn(q.check, q.name, "can't be checked: the access key may not call "+call+said,
			"allow dysms:"+call+" to its RAM user; sending may work without")
	case aliyun.NotOffered:
		r.warn(q.check, q.name, "can't be checked: this endpoint does not serve "+call+said, "look it up in Aliyun's console")
	case aliyun.Busy:
		r.warn(q.check, q.name, "can't be checked: Aliyun is busy"+said, "run it again")
	case aliyun.Unreachable, aliyun.Unreadable:
		r.fail(q.check, q.name, "no answer to "+call+said, "run it again; look at aliyun.timeout and the network")
		return false
	default:
		r.fail(q.check, q.name, "Aliyun refuses to tell"+said, "look the code up in Aliyun's documents")
	}
	return true
}
