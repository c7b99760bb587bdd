package check

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestSignatures(t *testing.T) {
	t.Parallel()
	for approval, want := range map[aliyun.Approval]string{
		aliyun.Pending:   "fail signature Acme: not approved: Aliyun is still reviewing it (a note)",
		aliyun.Rejected:  "fail signature Acme: not approved: Aliyun has rejected it (a note)",
		aliyun.Withdrawn: "fail signature Acme: not approved: its application was withdrawn (a note)",
		7:                "fail signature Acme: not approved: it is in a state that is not documented (a note)",
	} {
		p := plan()
		p.Aliyun = answers{sign: func(string) (aliyun.Review, error) {
			return aliyun.Review{Approval: approval, Note: "a note", Filings: []aliyun.Filing{{Carrier: "unicom"}}}, nil
		}}
		assert.Equal(t, []string{want}, brief(found(t, p), ofAliyun...), "the templates are judged for themselves")
	}
}

// Each row is what a carrier has on file of a signature.
func TestFilings(t *testing.T) {
	t.Parallel()
	fine := []aliyun.Filing{{Carrier: "mobile", State: aliyun.Filed}, {Carrier: "telecom", State: aliyun.Filed}}
	review := func(filings []aliyun.Filing) Plan {
		p := plan()
		p.Aliyun = answers{sign: func(string) (aliyun.Review, error) {
			return aliyun.Review{Approval: aliyun.Approved, Filings: filings}, nil
		}}
		return p
	}
	approved := Result{OK, checkSignature, "Acme", "approved, and filed with China Mobile, China Telecom", ""}
	assert.Contains(t, found(t, review(fine)), approved)
	assert.Contains(t, found(t, review(nil)), Result{OK, checkSignature, "Acme", "approved", ""}, "nothing is known of it")
	for _, test := range []struct {
		filing    aliyun.Filing
		want, fix string
	}{
		{aliyun.Filing{Carrier: "unicom", State: aliyun.Unproven}, "warn signature Acme: China Unicom has it on file, and it is not proven yet that messages arrive", "send a few"},
		{aliyun.Filing{Carrier: "unicom", State: aliyun.FilingPending}, "warn signature Acme: China Unicom has not answered the filing yet", "wait for it"},
		{aliyun.Filing{Carrier: "unicom", State: aliyun.FilingRefused, Reasons: []string{"REGISTER_TIMEOUT", "X"}}, "fail signature Acme: China Unicom refused to file it (REGISTER_TIMEOUT, X)", "correct the qualification"},
		{aliyun.Filing{Carrier: "unicom", State: aliyun.Lapsed}, "fail signature Acme: China Unicom let the filing lapse, since nothing was sent for six months", "file it again"},
		{aliyun.Filing{Carrier: "unicom", State: aliyun.NotFiled}, "fail signature Acme: China Unicom does not have it on file", "complete qualification"},
		{aliyun.Filing{Carrier: "another", State: aliyun.OtherFiling}, "warn signature Acme: another is in a state that is not documented", "look at the signature"},
	} {
		results := found(t, review(append([]aliyun.Filing{test.filing}, fine...)))
		assert.Contains(t, results, approved)
		assert.Equal(t, []string{test.want}, brief(results, ofAliyun...))
		for _, r := range results {
			if r.Check == checkSignature && r.Status != OK {
				assert.Contains(t, r.Fix, test.fix)
			}
		}
	}
}

// Each row is a template as Aliyun describes it, and what the settings use it for.
func TestTemplates(t *testing.T) {
	t.Parallel()
	only := func(china, overseas string, params ...string) domain.Template {
		return domain.Template{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: china, Overseas: overseas}, Params: params}
	}
	for _, test := range []struct {
		name   string
		review aliyun.Review
		use    domain.Template
		want   string // "" is in order
	}{
		{"for codes", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Verification}, only("SMS_1", "SMS_1"), ""},
		{"for codes, abroad", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Verification}, only("", "SMS_1"), ""},
		{"rejected", aliyun.Review{Approval: aliyun.Rejected, Kind: aliyun.Verification}, only("SMS_1", ""),
			"fail template SMS_1: not approved: Aliyun has rejected it"},
		{"for news", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Notification}, only("SMS_1", "SMS_1"),
			"fail template SMS_1: approved, and no verification template: its kind is notification"},
		{"for advertisements", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Promotion}, only("", "SMS_1"),
			"fail template SMS_1: approved, and no verification template: its kind is promotion"},
		{"for what nobody knows", aliyun.Review{Approval: aliyun.Approved, Kind: 7}, only("SMS_1", ""),
			"fail template SMS_1: approved, and no verification template: its kind is unknown"},
		{"abroad for abroad", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.International}, only("", "SMS_1"), ""},
		{"abroad for the mainland", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.International}, only("SMS_1", ""),
			"fail template SMS_1: approved for numbers outside mainland China alone, and set for mainland numbers"},
		{"abroad for all", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.International}, only("SMS_1", "SMS_1"),
			"warn template SMS_1: approved for numbers outside mainland China alone: those of the mainland are refused"},
		{"variables that are sent", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Verification, Variables: []string{"code", "app"}},
			only("SMS_1", "", "app", "more"), ""},
		{"a variable that is not sent", aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Verification, Variables: []string{"number"}},
			only("SMS_1", "", "app"), "fail template SMS_1: approved, and has the variable number, which usage type Generic does not send"},
	} {
		p := plan()
		p.Config.Aliyun.Templates = []domain.Template{test.use}
		p.Aliyun = answers{template: func(string) (aliyun.Review, error) { return test.review, nil }}
		got := brief(found(t, p), ofAliyun...)
		if test.want == "" {
			assert.Empty(t, got, test.name)
			continue
		}
		assert.Equal(t, []string{test.want}, got, test.name)
	}
}

// Each row is why one template can't be looked up, with the one after it.
func TestTemplatesThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	const next = "template SMS_2: "
	for _, test := range []struct {
		code        string
		first, then string
	}{
		{"isv.SMS_TEMPLATE_ILLEGAL", "fail template SMS_1: not approved: the account has no such template (isv.SMS_TEMPLATE_ILLEGAL: as Aliyun says)", ""},
		{"NoPermission", "warn template SMS_1: can't be checked: the access key may not call GetSmsTemplate (NoPermission: as Aliyun says)", ""},
		{"Throttling.User", "warn template SMS_1: can't be checked: Aliyun is busy (Throttling.User: as Aliyun says)", ""},
		{"isv.X", "fail template SMS_1: Aliyun refuses to tell (isv.X: as Aliyun says)", ""},
		{"timeout", "fail template SMS_1: no answer to GetSmsTemplate (as Aliyun says)", "warn " + next + "not checked: see template SMS_1"},
		{"unreadable_answer", "fail template SMS_1: no answer to GetSmsTemplate (as Aliyun says)", "warn " + next + "not checked: see template SMS_1"},
	} {
		p := plan()
		p.Aliyun = answers{template: func(code string) (aliyun.Review, error) {
			if code == "SMS_1" {
				return refusing(test.code).template(code)
			}
			return answers{}.ReviewTemplate(t.Context(), code)
		}}
		want := []string{test.first}
		if test.then != "" {
			want = append(want, test.then)
		}
		assert.Equal(t, want, brief(found(t, p), ofAliyun...), test.code)
	}
}
