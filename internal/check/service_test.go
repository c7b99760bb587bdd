package check

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// ofAliyun are the checks of Aliyun.
var ofAliyun = []string{checkEndpoint, checkClock, checkCredentials, checkSignature, checkTemplate}

const (
	signSkipped     = "warn signature : not checked: see "
	templateSkipped = "warn template : not checked: see "
)

// The broker of these plans can't be reached, which keeps nobody from asking
// Aliyun.
func TestGoodAccount(t *testing.T) {
	t.Parallel()
	var asked []string
	p := plan()
	p.Aliyun = answers{asked: &asked}
	results := found(t, p)
	assert.Empty(t, brief(results, ofAliyun...))
	assert.Equal(t, []Result{
		{OK, checkEndpoint, "", "https://dysmsapi.aliyuncs.com answers", ""},
		{OK, checkClock, "", "within 1s of Aliyun's", ""},
		{OK, checkCredentials, "", "Aliyun accepts the access key LTAI****", ""},
		{OK, checkSignature, "Acme", "approved", ""},
		{OK, checkTemplate, "SMS_1", "approved, for verification codes", ""},
		{OK, checkTemplate, "SMS_2", "approved, for verification codes", ""},
	}, results[len(results)-6:])
	assert.Equal(t, []string{"Acme", "SMS_1", "SMS_2"}, asked)
}

// Each name is asked for once, whoever uses it.
func TestNamesAreAskedForOnce(t *testing.T) {
	t.Parallel()
	var asked []string
	p := plan()
	p.Aliyun = answers{asked: &asked}
	p.Config.Aliyun.Templates = []domain.Template{
		{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "SMS_1", Overseas: "SMS_1"}, SignName: "Other"},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "SMS_2", Overseas: "SMS_1"}},
		{UsageType: "Register", TemplateCode: domain.TemplateCode{China: "SMS_2"}, SignName: "Other"},
	}
	assert.Empty(t, brief(found(t, p), ofAliyun...))
	assert.Equal(t, []string{"Other", "Acme", "SMS_1", "SMS_2"}, asked)

	asked = nil
	p.Config.Aliyun.Templates = p.Config.Aliyun.Templates[:1]
	found(t, p)
	assert.Equal(t, []string{"Other", "SMS_1"}, asked, "the common signature is not used")
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	skipped := []string{"warn clock : not checked: see endpoint", "warn credentials : not checked: see endpoint",
		signSkipped + "endpoint", templateSkipped + "endpoint"}
	for code, fix := range map[string]string{
		"dns":                "name servers",
		"tls":                "root certificates",
		"connection_refused": "let this machine reach it",
	} {
		p := plan()
		p.Aliyun = answers{knock: func() (aliyun.Presence, error) {
			return aliyun.Presence{}, &answer.Failure{Code: code, Message: "why"}
		}}
		results := found(t, p)
		assert.Equal(t, append([]string{"fail endpoint : https://dysmsapi.aliyuncs.com: " + "why"}, skipped...), brief(results, ofAliyun...))
		assert.Contains(t, results[len(results)-5].Fix, fix)
	}
	p := plan()
	p.Aliyun, p.AliyunErr = nil, errors.New("aliyun: DEBUG must not be set")
	assert.Equal(t, append([]string{"fail endpoint : aliyun: DEBUG must not be set"}, skipped...), brief(found(t, p), ofAliyun...))
}

func TestClock(t *testing.T) {
	t.Parallel()
	const agree = "; limits and look-ups count on replicas' clocks that agree"
	for _, test := range []struct {
		ahead time.Duration
		want  []string
	}{
		{0, nil},
		{4 * time.Second, nil},
		{-5 * time.Second, nil},
		{6 * time.Second, []string{"warn clock : ours is 6s behind Aliyun's" + agree}},
		{-4 * time.Minute, []string{"warn clock : ours is 4m ahead of Aliyun's" + agree}},
		{5 * time.Minute, []string{"fail clock : ours is 5m behind Aliyun's; passcodes are taken for expired, or sent when they have"}},
		{-20 * time.Minute, []string{"fail clock : ours is 20m ahead of Aliyun's; from 15m on it refuses every call"}},
		{800 * time.Hour, []string{"fail clock : ours is 800h behind Aliyun's; from 15m on it refuses every call"}},
	} {
		p := plan()
		p.Aliyun = answers{knock: func() (aliyun.Presence, error) {
			return aliyun.Presence{Ahead: test.ahead, Dated: true}, nil
		}}
		assert.Equal(t, test.want, brief(found(t, p), checkClock), test.ahead)
	}
	p := plan()
	p.Aliyun = answers{knock: func() (aliyun.Presence, error) { return aliyun.Presence{}, nil }}
	assert.Equal(t, []string{"warn clock : can't be compared: the answer has no Date"}, brief(found(t, p), checkClock))
}

// A clock that is off is not taken for wrong credentials, nor reported twice.
func TestRefusedTime(t *testing.T) {
	t.Parallel()
	rest := []string{"warn credentials : not checked: see clock", signSkipped + "credentials", templateSkipped + "credentials"}
	p := plan()
	late := refusing("InvalidTimeStamp.Expired")
	late.knock = func() (aliyun.Presence, error) {
		return aliyun.Presence{Ahead: 20 * time.Minute, Dated: true}, nil
	}
	p.Aliyun = late
	assert.Equal(t, append([]string{"fail clock : ours is 20m behind Aliyun's; from 15m on it refuses every call"}, rest...),
		brief(found(t, p), ofAliyun...))

	p.Aliyun = refusing("InvalidTimeStamp.Expired") // whose Date is that of something in between
	assert.Equal(t, append([]string{"fail clock : Aliyun refuses the time of a signed call (InvalidTimeStamp.Expired: as Aliyun says)"}, rest...),
		brief(found(t, p), ofAliyun...))
}

// Each row is what the first signed call brings, and what that says of the
// credentials.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code string
		want string // "" is accepted
	}{
		{"isv.SMS_SIGNATURE_ILLEGAL", ""},
		{"NoPermission", ""},
		{"isv.INVALID_PARAMETERS", ""},
		{"IncompleteSignature", "fail credentials : Aliyun refuses a signed call (IncompleteSignature: as Aliyun says)"},
		{"SignatureDoesNotMatch", "fail credentials : the secret is not that of the access key LTAI**** (SignatureDoesNotMatch: as Aliyun says)"},
		{"InvalidAccessKeyId.NotFound", "fail credentials : Aliyun does not know the access key LTAI****, or it is disabled (InvalidAccessKeyId.NotFound: as Aliyun says)"},
		{"InvalidSecurityToken.Expired", "fail credentials : Aliyun refuses the security token (InvalidSecurityToken.Expired: as Aliyun says)"},
		{"credentials", "fail credentials : none are set, and this machine provides none"},
		{"isv.OUT_OF_SERVICE", "fail credentials : Aliyun accepts the access key LTAI**** and refuses its account (isv.OUT_OF_SERVICE: as Aliyun says)"},
		{"unreadable_answer", "fail credentials : what answers is not Aliyun SMS (as Aliyun says)"},
		{"timeout", "fail credentials : a signed call is not answered (as Aliyun says)"},
		{"Throttling.User", "warn credentials : can't be checked: Aliyun is busy (Throttling.User: as Aliyun says)"},
	} {
		p := plan()
		p.Aliyun = refusing(test.code)
		got := brief(found(t, p), checkCredentials)
		if test.want == "" {
			assert.Empty(t, got, test.code)
			continue
		}
		assert.Equal(t, []string{test.want}, got, test.code)
		assert.Equal(t, []string{signSkipped + "credentials", templateSkipped + "credentials"},
			brief(found(t, p), checkSignature, checkTemplate), "one line a kind, whatever there is of it")
	}
	p := plan()
	p.Config.Aliyun.AccessKeyID = config.KeyID{}
	results := found(t, p)
	assert.Equal(t, "Aliyun accepts the access key that this machine provides", results[len(results)-4].Detail)
}

// An endpoint that doesn't serve one question is asked the other.
func TestAQuestionThatIsNotServed(t *testing.T) {
	t.Parallel()
	var asked []string
	p := plan()
	gone := refusing("InvalidAction.NotFound")
	p.Aliyun = answers{sign: gone.sign, asked: &asked}
	assert.Equal(t, []string{"warn signature Acme: can't be checked: this endpoint does not serve GetSmsSign (InvalidAction.NotFound: as Aliyun says)"},
		brief(found(t, p), ofAliyun...))
	assert.Equal(t, []string{"Acme", "SMS_1", "SMS_2"}, asked)

	p.Aliyun = gone
	assert.Equal(t, []string{
		"warn credentials : can't be checked: this endpoint serves none of our questions (InvalidAction.NotFound: as Aliyun says)",
		"warn signature Acme: can't be checked: this endpoint does not serve GetSmsSign (InvalidAction.NotFound: as Aliyun says)",
		"warn template SMS_1: can't be checked: this endpoint does not serve GetSmsTemplate (InvalidAction.NotFound: as Aliyun says)",
		"warn template SMS_2: can't be checked: this endpoint does not serve GetSmsTemplate (InvalidAction.NotFound: as Aliyun says)",
	}, brief(found(t, p), ofAliyun...))
}

// Without a name to ask for the credentials are checked all the same.
func TestNoNames(t *testing.T) {
	t.Parallel()
	var asked []string
	p := plan()
	p.Aliyun = answers{asked: &asked}
	p.Config.Aliyun.SignName = ""
	assert.Equal(t, []string{signSkipped + "settings"}, brief(found(t, p), ofAliyun...))

	p.Config.Aliyun.Templates, asked = nil, nil
	assert.Equal(t, []string{signSkipped + "settings", templateSkipped + "settings"}, brief(found(t, p), ofAliyun...))
	assert.Equal(t, []string{"worker-check"}, asked)
}
