package aliyun

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const codePhoneInvalid = "phone_invalid"

// numberFor returns the number as Aliyun wants it: eleven digits for mainland China, country code and number
// elsewhere. It refuses all else: with a comma, one call would send to many.
func numberFor(phone passcode.Phone) (number string, inChina, ok bool) {
	if national, ok := answer.Mainland(phone); ok {
		return national, true, true
	}
	digits, ok := answer.Digits(phone)
	return digits, false, ok
}

// request builds the call for a message, or says why there can be none.
func (s *Sender) request(msg domain.Message) (*dysmsapi.SendSmsRequest, *domain.Outcome) {
	number, inChina, ok := numberFor(msg.Phone)
	if !ok {
		return nil, &domain.Outcome{Class: passcode.ClassRecipient, Code: codePhoneInvalid, Message: "not one E.164 number"}
	}
	template, ok := s.template(msg.UsageType)
	code, half := template.TemplateCode.China, "mainland China"
	if !inChina {
		code, half = template.TemplateCode.Overseas, "overseas"
	}
	if !ok || code == "" {
		return nil, &domain.Outcome{
			Class: passcode.ClassConfig, Code: "template_missing",
			Message: fmt.Sprintf("no %s template for this usage type", half),
		}
	}
	sign := cmp.Or(template.SignName, s.opts.SignName)
	if sign == "" {
		return nil, &domain.Outcome{Class: passcode.ClassConfig, Code: "sign_name_missing", Message: "no signature is set"}
	}
	return (&dysmsapi.SendSmsRequest{}).SetPhoneNumbers(number).SetSignName(sign).SetTemplateCode(code).
		SetTemplateParam(templateParam(msg, template.Params)).SetOutId(msg.RequestID), nil
}

// callOf names an action to the SDK's generic method.
func callOf(action string) *openapi.Params {
	return (&openapi.Params{}).SetAction(action).SetVersion("2017-05-25").SetProtocol("HTTPS").SetPathname("/").
		SetMethod(http.MethodPost).SetAuthType("AK").SetStyle("RPC").SetReqBodyType("formData").SetBodyType("json")
}

var sendSmsCall = callOf("SendSms")

// genericRequest is what SendSmsWithOptions of the SDK makes of a request. Before that, it checks the request by reflection and
// takes it through JSON, which is a tenth of a job's CPU. TestARequestIsTheSDKsOwn compares the two.
func genericRequest(r *dysmsapi.SendSmsRequest) *openapi.OpenApiRequest {
	return &openapi.OpenApiRequest{Query: map[string]*string{
		"PhoneNumbers": r.PhoneNumbers, "SignName": r.SignName, "TemplateCode": r.TemplateCode,
		"TemplateParam": r.TemplateParam, "OutId": r.OutId,
	}}
}

// template picks by exact usage type, then Generic; the first match wins.
func (s *Sender) template(usageType string) (domain.Template, bool) {
	for _, wanted := range []string{usageType, passcode.DefaultUsageType} {
		for _, t := range s.opts.Templates {
			if t.UsageType == wanted {
				return t, true
			}
		}
	}
	return domain.Template{}, false
}

// templateParam is the JSON object of the template's variables: the code, and those of the message that are listed.
// Aliyun refuses values that are no strings, and variables that the template doesn't have.
func templateParam(msg domain.Message, listed []string) string {
	params := map[string]string{}
	for _, name := range listed {
		if value, ok := msg.Params[name]; ok {
			params[name] = value
		}
	}
	params["code"] = msg.Code.Reveal()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(params) // strings into memory can't fail
	return strings.TrimSuffix(out.String(), "\n")
}
