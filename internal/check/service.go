package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// How far our clock may be from Aliyun's. Signed calls are refused from 15
// minutes on. Long before that passcodes, whose lives are minutes, are taken for
// expired, or sent when they have expired. And from seconds on replicas may be as far
// from each other, whose windows and look-ups count by clocks that agree.
const (
	clockWarn = 5 * time.Second
	clockFail = 5 * time.Minute
	refusedAt = 15 * time.Minute
)

// service checks the way to Aliyun, and what has to be in order there.
func (r *run) service() {
	if !r.reach() {
		r.skip(checkEndpoint, checkClock, checkCredentials, checkSignature, checkTemplate)
		return
	}
	if !r.Problems.Usable(signing...) {
		r.skip(checkSettings, checkCredentials, checkSignature, checkTemplate)
		return
	}
	r.account()
}

// reach checks endpoint and clock. It reports false where nothing answers.
func (r *run) reach() bool {
	switch {
	case !r.Problems.Usable(reaching...):
		r.skip(checkSettings, checkEndpoint)
		return false
	case r.Aliyun == nil:
		r.fail(checkEndpoint, "", r.AliyunErr.Error(), "correct what it names")
		return false
	}
	ctx, cancel := r.bounded()
	defer cancel()
	url := r.Config.Aliyun.Protocol + "://" + r.Config.Aliyun.Endpoint
	presence, err := r.Aliyun.Knock(ctx)
	if err != nil {
		r.fail(checkEndpoint, "", url+": "+err.Error(), fixEndpoint(err))
		return false
	}
	r.ok(checkEndpoint, "", url+" answers")
	r.clock(presence)
	return true
}

func fixEndpoint(err error) string {
	var failure *answer.Failure
	errors.As(err, &failure)
	switch {
	case failure != nil && failure.Code == answer.CodeDNS:
		return "correct aliyun.endpoint, or the name servers of this machine"
	case failure != nil && failure.Code == answer.CodeTLS:
		return "correct aliyun.endpoint and aliyun.protocol, or the clock and the root certificates of this machine"
	default:
		return "correct aliyun.endpoint and aliyun.protocol, or let this machine reach it"
	}
}

const fixClock = "set the clock of this machine, and keep it by NTP"

// clock compares the clocks.
func (r *run) clock(p aliyun.Presence) {
	if !p.Dated {
		r.warn(checkClock, "", "can't be compared: the answer has no Date", "see that aliyun.endpoint is Aliyun's")
		return
	}
	off, direction := p.Ahead.Abs().Round(time.Second), "behind"
	r.clockFailed = off >= clockFail
	if p.Ahead < 0 {
		direction = "ahead of"
	}
	detail := fmt.Sprintf("ours is %s %s Aliyun's", domain.FormatDuration(off), direction)
	switch {
	case off >= refusedAt:
		r.fail(checkClock, "", detail+"; from "+domain.FormatDuration(refusedAt)+" on it refuses every call", fixClock)
	case off >= clockFail:
		r.fail(checkClock, "", detail+"; passcodes are taken for expired, or sent when they have", fixClock)
	case off > clockWarn:
		r.warn(checkClock, "", detail+"; limits and look-ups count on replicas' clocks that agree", fixClock)
	default:
		// The header counts whole seconds, and the connection took a while.
		r.ok(checkClock, "", "within "+domain.FormatDuration(max(off, time.Second))+" of Aliyun's")
	}
}

// account checks the credentials with the first question that the endpoint
// serves, and goes on to the signatures and templates where they are good.
func (r *run) account() {
	signs, templates := r.questions()
	questions := slices.Concat(signs, templates)
	asked := questions
	if len(questions) == 0 {
		// Whether the answer is no or yes, it shows whether the call was well signed.
		asked = []*question{r.signQuestion(r.UnusedID)}
	}
	var first error
	for _, q := range asked {
		if first = r.put(q); reasonOf(first) != answer.NotOffered {
			break
		}
	}
	if !r.credentials(first) {
		r.skip(checkCredentials, checkSignature, checkTemplate)
		return
	}
	if len(signs) == 0 {
		r.skip(checkSettings, checkSignature)
	}
	for i, q := range questions {
		if !r.tell(q) {
			for _, left := range questions[i+1:] {
				r.warn(left.check, left.name, "not checked: see "+q.check+" "+q.name, "")
			}
			return
		}
	}
	if len(templates) == 0 {
		r.skip(checkSettings, checkTemplate)
	}
}

// keyFailures is what a refused call says of the credentials, by its reason. KEY
// stands for the access key.
var keyFailures = map[answer.Reason]judgement{
	answer.KeyRefused:    {Fail, "Aliyun does not know KEY, or it is disabled", "correct aliyun.access_key_id, or enable the key in the RAM console"},
	answer.SecretWrong:   {Fail, "the secret is not that of KEY", "correct aliyun.access_key_secret"},
	answer.RefusedToken:  {Fail, "Aliyun refuses the security token", "renew aliyun.security_token, or leave the keys to this machine's role"},
	answer.AccountClosed: {Fail, "Aliyun accepts KEY and refuses its account", "look at the account in Aliyun's console"},
	answer.NotOffered:    {Warn, "can't be checked: this endpoint serves none of our questions", "see that aliyun.endpoint is Aliyun's"},
	answer.Busy:          {Warn, "can't be checked: Aliyun is busy", "run it again"},
	answer.Unreadable:    {Fail, "what answers is not Aliyun SMS", "correct aliyun.endpoint and aliyun.protocol, or look for a proxy on the way"},
	answer.Unreachable:   {Fail, "a signed call is not answered", "run it again; look at aliyun.timeout and the network"},
	answer.Refused:       {Fail, "Aliyun refuses a signed call", "look the code up in Aliyun's documents"},
}

// credentials judges what a signed call brought. It reports false where further
// ones would bring no more.
func (r *run) credentials(err error) bool {
	key := "the access key " + r.Config.Aliyun.AccessKeyID.String()
	if r.Config.Aliyun.AccessKeyID.IsZero() {
		key = "the access key that this machine provides"
	}
	var failure *answer.Failure
	if err != nil && !errors.As(err, &failure) {
		r.fail(checkCredentials, "", err.Error(), "run it again")
		return false
	}
	if err == nil || signed(failure) {
		r.ok(checkCredentials, "", "Aliyun accepts "+key)
		return true
	}
	switch reason := failure.Reason(); reason {
	case answer.NoCredentials:
		r.fail(checkCredentials, "", "none are set, and this machine provides none",
			"set aliyun.access_key_id and aliyun.access_key_secret, or give this machine a role")
	case answer.ClockOff: // which shows nothing of the credentials
		if !r.clockFailed {
			r.fail(checkClock, "", "Aliyun refuses the time of a signed call ("+failure.Error()+")", fixClock)
		}
		r.skip(checkClock, checkCredentials)
	default:
		j := keyFailures[reason]
		r.add(j.status, checkCredentials, "", strings.Replace(j.detail, "KEY", key, 1)+" ("+failure.Error()+")", j.fix)
	}
	return failure.Reason() == answer.NotOffered
}

// signed reports whether a refusal shows that the signature was good: the
// service is asked only after the gateway has found so.
func signed(f *answer.Failure) bool {
	switch f.Reason() {
	case answer.NotListed, answer.NotAllowed:
		return true
	case answer.Refused:
		return strings.HasPrefix(f.Code, "isv.") || strings.HasPrefix(f.Code, "isp.")
	default:
		return false
	}
}

// reasonOf is why a question was not answered; empty where it was.
func reasonOf(err error) answer.Reason {
	var failure *answer.Failure
	if errors.As(err, &failure) {
		return failure.Reason()
	}
	return ""
}
