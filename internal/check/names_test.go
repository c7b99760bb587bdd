package check

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

func TestSignatures(t *testing.T) {
	t.Parallel()
	for approval, want := range map[aliyun.Approval]string{
		aliyun.Pending:       "fail signature Acme: not approved: Aliyun is still reviewing it (a note)",
		aliyun.Rejected:      "fail signature Acme: not approved: Aliyun has rejected it (a note)",
		aliyun.Withdrawn:     "fail signature Acme: not approved: its application was withdrawn (a note)",
		aliyun.OtherApproval: "fail signature Acme: not approved: it is in a state that is not documented (a note)",
	} {
		p := plan()
		p.Aliyun = answers{sign: func(string) (aliyun.Review, error) {
			return aliyun.Review{Approval: approval, Note: "a note"}, nil
		}}
		assert.Equal(t, []string{want}, brief(found(t, p), ofAliyun...), "the templates are judged for themselves")
	}
}

// Each row is a template as Aliyun describes it, and what the settings use it for.
func TestTemplates(t *testing.T) {
	t.Parallel()
	only := func(china, overseas string, params ...string) config.Template {
		return config.Template{UsageType: "Generic", TemplateCode: config.TemplateCode{China: china, Overseas: overseas}, Params: params}
	}
	approved := aliyun.Review{Approval: aliyun.Approved}
	for _, test := range []struct {
		name   string
		review aliyun.TemplateReview
		use    config.Template
		want   string // "" is in order
	}{
		{"for codes", aliyun.TemplateReview{Review: approved, Kind: aliyun.Verification}, only("SMS_1", "SMS_1"), ""},
		{"for codes, abroad", aliyun.TemplateReview{Review: approved, Kind: aliyun.Verification}, only("", "SMS_1"), ""},
		{"rejected", aliyun.TemplateReview{Review: aliyun.Review{Approval: aliyun.Rejected}, Kind: aliyun.Verification}, only("SMS_1", ""),
			"fail template SMS_1: not approved: Aliyun has rejected it"},
		{"for news", aliyun.TemplateReview{Review: approved, Kind: aliyun.Notification}, only("SMS_1", "SMS_1"),
			"fail template SMS_1: approved, and no verification template: its kind is notification"},
		{"for advertisements", aliyun.TemplateReview{Review: approved, Kind: aliyun.Promotion}, only("", "SMS_1"),
			"fail template SMS_1: approved, and no verification template: its kind is promotion"},
		{"for what nobody knows", aliyun.TemplateReview{Review: approved, Kind: aliyun.OtherKind}, only("SMS_1", ""),
			"fail template SMS_1: approved, and no verification template: its kind is unknown"},
		{"abroad for abroad", aliyun.TemplateReview{Review: approved, Kind: aliyun.International}, only("", "SMS_1"), ""},
		{"abroad for the mainland", aliyun.TemplateReview{Review: approved, Kind: aliyun.International}, only("SMS_1", ""),
			"fail template SMS_1: approved for numbers outside mainland China alone, and set for mainland numbers"},
		{"abroad for all", aliyun.TemplateReview{Review: approved, Kind: aliyun.International}, only("SMS_1", "SMS_1"),
			"warn template SMS_1: approved for numbers outside mainland China alone: those of the mainland are refused"},
		{"variables that are sent", aliyun.TemplateReview{Review: approved, Kind: aliyun.Verification, Variables: []string{"code", "app"}},
			only("SMS_1", "", "app", "more"), ""},
		{"a variable that is not sent", aliyun.TemplateReview{Review: approved, Kind: aliyun.Verification, Variables: []string{"number"}},
			only("SMS_1", "", "app"), "fail template SMS_1: approved, and has the variable number, which usage type Generic does not send"},
	} {
		p := plan()
		p.Config.Aliyun.Templates = []config.Template{test.use}
		p.Aliyun = answers{template: func(string) (aliyun.TemplateReview, error) { return test.review, nil }}
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
		reason      aliyun.Reason
		first, then string
	}{
		{aliyun.NotListed, "fail template SMS_1: not approved: the account has no such template (isv.X: as Aliyun says)", ""},
		{aliyun.NotAllowed, "warn template SMS_1: can't be checked: the access key may not call QuerySmsTemplate (isv.X: as Aliyun says)", ""},
		{aliyun.Busy, "warn template SMS_1: can't be checked: Aliyun is busy (isv.X: as Aliyun says)", ""},
		{aliyun.Refused, "fail template SMS_1: Aliyun refuses to tell (isv.X: as Aliyun says)", ""},
		{aliyun.Unreachable, "fail template SMS_1: no answer to QuerySmsTemplate (isv.X: as Aliyun says)", "warn " + next + "not checked: see template SMS_1"},
		{aliyun.Unreadable, "fail template SMS_1: no answer to QuerySmsTemplate (isv.X: as Aliyun says)", "warn " + next + "not checked: see template SMS_1"},
	} {
		p := plan()
		p.Aliyun = answers{template: func(code string) (aliyun.TemplateReview, error) {
			if code == "SMS_1" {
				return refusing(test.reason, "isv.X").template(code)
			}
			return answers{}.ReviewTemplate(t.Context(), code)
		}}
		want := []string{test.first}
		if test.then != "" {
			want = append(want, test.then)
		}
		assert.Equal(t, want, brief(found(t, p), ofAliyun...), test.reason)
	}
}
