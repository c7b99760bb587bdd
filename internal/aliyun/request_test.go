package aliyun

import (
	"bytes"
	"errors"
	"net/http"
	"regexp"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestNumberFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		phone, number string
		china         bool
	}{
		{"+8613812345678", "13812345678", true},
		{"+8619912345678", "19912345678", true},
		{"+8612012345678", "8612012345678", false}, // not a mobile
		{"+861081234567", "861081234567", false},   // Beijing, landline
		{"+86138123456789", "86138123456789", false},
		{"+18624017194", "18624017194", false},
		{"+85268326366", "85268326366", false},
		{"+886912345678", "886912345678", false},
	} {
		number, china, ok := numberFor(passcode.NewPhone(test.phone))
		assert.True(t, ok, test.phone)
		assert.Equal(t, test.number, number)
		assert.Equal(t, test.china, china, test.phone)
	}
	for _, phone := range []string{"", "13812345678", "+", "+8613812345678,+8613912345678", "+86 13812345678", "+123456", "+1234567890123456", "+861381234567x"} {
		_, _, ok := numberFor(passcode.NewPhone(phone))
		assert.False(t, ok, phone)
	}
}

func TestRequestPicksTheTemplate(t *testing.T) {
	t.Parallel()
	service := newService(t, ok)
	options := testOptions(service.URL)
	options.Templates = []domain.Template{
		{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "G_CN", Overseas: "G_INTL"}},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "S_CN"}, SignName: "Own"},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "S2_CN", Overseas: "S2_INTL"}},
		{UsageType: "Register", TemplateCode: domain.TemplateCode{Overseas: "R_INTL"}},
	}
	none, unsigned := options, options
	none.Templates, unsigned.SignName = nil, ""
	const abroad = "+18624017194"
	refusal := func(class passcode.Class, code string) domain.Outcome {
		return domain.Outcome{Class: class, Code: code}
	}
	for _, test := range []struct {
		options        Options
		usage, phone   string
		template, sign string
		refused        domain.Outcome
	}{
		{options, "Generic", testPhone, "G_CN", "测试签名", domain.Outcome{}},
		{options, "SignIn", testPhone, "S_CN", "Own", domain.Outcome{}},
		{options, "signin", testPhone, "G_CN", "测试签名", domain.Outcome{}},
		{options, "Unheard", abroad, "G_INTL", "测试签名", domain.Outcome{}},
		{options, "Register", abroad, "R_INTL", "测试签名", domain.Outcome{}},
		{options, "SignIn", abroad, "", "", refusal(passcode.ClassConfig, "template_missing")},
		{options, "Register", testPhone, "", "", refusal(passcode.ClassConfig, "template_missing")},
		{none, "Generic", testPhone, "", "", refusal(passcode.ClassConfig, "template_missing")},
		{unsigned, "Generic", testPhone, "", "", refusal(passcode.ClassConfig, "sign_name_missing")},
		{options, "Generic", testPhone + ",13900000000", "", "", refusal(passcode.ClassRecipient, "phone_invalid")},
	} {
		msg := testMessage()
		msg.UsageType, msg.Phone = test.usage, passcode.NewPhone(test.phone)
		s := newTestSender(t, test.options)
		request, refused := s.request(msg)
		if test.template == "" {
			outcome := s.Send(t.Context(), msg, time.Time{})
			assert.Equal(t, refused, &outcome)
			outcome.Message = ""
			assert.Equal(t, test.refused, outcome)
			continue
		}
		require.Nil(t, refused)
		assert.Equal(t, test.template, *request.TemplateCode)
		assert.Equal(t, test.sign, *request.SignName)
	}
	assert.Empty(t, service.got())
}

func TestTemplateParam(t *testing.T) {
	t.Parallel()
	msg := testMessage()
	msg.Params = map[string]string{"b": `<"&>`, "a": "1", "code": "999999", "uiLocales": "en"}
	assert.Equal(t, `{"a":"1","b":"<\"&>","code":"493817"}`, templateParam(msg, []string{"b", "absent", "a", "code"}))
	assert.Equal(t, `{"code":"493817"}`, templateParam(msg, nil))
	msg.Code = passcode.NewPasscode("0042")
	assert.Equal(t, `{"code":"0042"}`, templateParam(msg, nil), "leading zeros are kept, as a string")
}

// kept is an SDK's HTTP client that keeps what would be sent.
type kept struct{ bytes.Buffer }

func (k *kept) Call(r *http.Request, _ *http.Transport) (*http.Response, error) {
	return nil, errors.Join(errors.New("not sent"), r.Write(k))
}

// TestARequestIsTheSDKsOwn: byte for byte but for the nonce, the time and what is signed with them.
func TestARequestIsTheSDKsOwn(t *testing.T) {
	t.Parallel()
	endpoint, key := "127.0.0.1:1", "key"
	varies := regexp.MustCompile(`(?i)(x-acs-(?:signature-nonce|date): |Signature=)\S+`)
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		request := (&dysmsapi.SendSmsRequest{}).SetPhoneNumbers(text("phone")).SetSignName(text("sign")).
			SetTemplateCode(text("template")).SetTemplateParam(text("param")).SetOutId(text("id"))
		written := func(call func(*dysmsapi.Client) error) string {
			client, err := dysmsapi.NewClient(&openapi.Config{Endpoint: &endpoint, NoProxy: &endpoint, AccessKeyId: &key, AccessKeySecret: &key})
			require.NoError(t, err)
			var out kept
			client.HttpClient = &out
			require.ErrorContains(t, call(client), "not sent")
			return varies.ReplaceAllString(out.String(), "$1")
		}
		theirs := written(func(client *dysmsapi.Client) error {
			_, err := client.SendSmsWithOptions(request, &util.RuntimeOptions{})
			return err
		})
		ours := written(func(client *dysmsapi.Client) error {
			_, err := client.CallApi(sendSmsCall, genericRequest(request), &util.RuntimeOptions{})
			return err
		})
		require.Contains(t, ours, "SignedHeaders=")
		require.Equal(t, theirs, ours)
	})
}
