package emulator

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

func TestSendSmsChecksParameters(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		changes []string
		code    string
		status  int
	}{
		{"sound", nil, "OK", 200},
		{"mainland with its country code", []string{"PhoneNumbers", "8613812345678"}, "OK", 200},
		{"overseas", []string{"PhoneNumbers", "85268326366"}, "OK", 200},
		{"letters in the code", []string{"TemplateParam", `{"code":"aZ09"}`}, "OK", 200},
		{"another variable", []string{"TemplateParam", `{"code":"1234","product":"My App"}`}, "OK", 200},
		{"no OutId", []string{"OutId", "-"}, "OK", 200},

		{"no number", []string{"PhoneNumbers", "-"}, "MissingPhoneNumbers", 400},
		{"an empty number", []string{"PhoneNumbers", ""}, "MissingPhoneNumbers", 400},
		{"no signature name", []string{"SignName", "-"}, "MissingSignName", 400},
		{"no template", []string{"TemplateCode", "-"}, "MissingTemplateCode", 400},
		{"a number that is none", []string{"PhoneNumbers", "8610012345678"}, codeNumberIllegal, 200},
		{"one wrong number of two", []string{"PhoneNumbers", "13812345678,1381234567"}, codeNumberIllegal, 200},
		{
			"more than 1,000 numbers",
			[]string{"PhoneNumbers", "13812345678" + strings.Repeat(",13812345678", 1000)}, "isv.MOBILE_COUNT_OVER_LIMIT", 200,
		},
		{"no variables", []string{"TemplateParam", "-"}, codeParamMissing, 200},
		{"not the code", []string{"TemplateParam", `{"product":"x"}`}, codeParamMissing, 200},
		{"no JSON", []string{"TemplateParam", `{"code":"1234"`}, codeParamNotJSON, 200},
		{"no object", []string{"TemplateParam", `["1234"]`}, codeParamNotJSON, 200},
		{"null", []string{"TemplateParam", `null`}, codeParamNotJSON, 200},
		{"a number for a string", []string{"TemplateParam", `{"code":1234}`}, codeParamNotJSON, 200},
		{"null for a string", []string{"TemplateParam", `{"code":"1234","x":null}`}, codeParamNotJSON, 200},
		{"3 characters", []string{"TemplateParam", `{"code":"123"}`}, "isv.TEMPLATE_PARAMS_ILLEGAL", 200},
		{"7 characters", []string{"TemplateParam", `{"code":"1234567"}`}, "isv.TEMPLATE_PARAMS_ILLEGAL", 200},
		{"other characters", []string{"TemplateParam", `{"code":"12-34"}`}, "isv.TEMPLATE_PARAMS_ILLEGAL", 200},
		{"digits that are not ASCII", []string{"TemplateParam", `{"code":"１２"}`}, "isv.TEMPLATE_PARAMS_ILLEGAL", 200},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e, _ := newTest(t, Options{})
			got := do(t, e, gateway.ActionSendSms, sending(row.changes...))
			assert.Equal(t, row.code, got.Code)
			assert.Equal(t, row.status, got.Status)
			assert.Equal(t, row.code == "OK", len(e.Sent()) == 1)
			assert.Equal(t, row.status == 200, got.HostID == "", "only the gateway names a host")
			assert.Equal(t, row.status != 200, strings.Contains(got.Recommend, "requestId="+got.RequestID))
			if row.code == "isv.TEMPLATE_PARAMS_ILLEGAL" {
				assert.Equal(t, "Params must be [a-zA-Z0-9] for verification sms", got.Message)
			}
		})
	}
}

func TestApprovedSignaturesAndTemplates(t *testing.T) {
	t.Parallel()
	opts := Options{
		SignNames: []string{"阿里云", "Shop"},
		Templates: []string{"SMS_1", "SMS_2:code", "SMS_3:code:product", "SMS_5=notification", "SMS_6=international"},
	}
	for _, row := range []struct{ sign, template, param, code string }{
		{"阿里云", "SMS_1", `{"code":"1234"}`, "OK"},
		{"Shop", "SMS_1", `{"code":"1234","any":"x"}`, "OK"},
		{"shop", "SMS_1", `{"code":"1234"}`, "isv.SMS_SIGNATURE_ILLEGAL"},
		{"Shop", "SMS_4", `{"code":"1234"}`, "isv.SMS_TEMPLATE_ILLEGAL"},
		{"Shop", "SMS_2", `{"code":"1234"}`, "OK"},
		{"Shop", "SMS_2", `{"code":"1234","uiLocales":"zh-CN en"}`, "isv.TEMPLATE_PARAMS_ILLEGAL"},
		{"Shop", "SMS_3", `{"code":"1234","product":"My App"}`, "OK"},
		{"Shop", "SMS_3", `{"code":"1234"}`, codeParamMissing},
		{"Shop", "SMS_5", `{"code":"1234"}`, "OK"}, // the service doesn't ask what a text is for
		{"Shop", "SMS_6", `{"code":"1234"}`, "isv.DOMESTIC_NUMBER_NOT_SUPPORTED"},
	} {
		e, _ := newTest(t, opts)
		got := do(t, e, gateway.ActionSendSms, sending("SignName", row.sign, "TemplateCode", row.template, "TemplateParam", row.param))
		assert.Equal(t, row.code, got.Code, "%+v", row)
	}
	e, _ := newTest(t, opts)
	mustSend(t, e, "SignName", "Shop", "TemplateCode", "SMS_6", "PhoneNumbers", "85268326366")
}

func TestSentShowsWhatWasAccepted(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{})
	first := mustSend(t, e, "PhoneNumbers", "+8613812345678", "TemplateParam", `{"code":"007700","product":"x"}`)
	c.Move(time.Minute)
	second := mustSend(t, e, "PhoneNumbers", "13912345678,85268326366", "OutId", "req-2")

	at := testStart.Add(time.Minute)
	params := map[string]string{"code": "123456"}
	assert.Equal(t, []Sent{
		{
			Phone: "8613812345678", OutID: "req-1", BizID: first.BizID, Code: "007700", At: testStart,
			TemplateCode: "SMS_1", SignName: "阿里云", Params: map[string]string{"code": "007700", "product": "x"},
		},
		{"13912345678", "req-2", second.BizID, "123456", at, "SMS_1", "阿里云", params},
		{"85268326366", "req-2", second.BizID, "123456", at, "SMS_1", "阿里云", params},
	}, e.Sent(), "each number is a message, one request has one BizId")
	assert.Equal(t, int64(3), e.Stats().Accepted)

	assert.Regexp(t, `^\d{18}\^0$`, first.BizID)
	assert.NotEqual(t, first.BizID, second.BizID)
	assert.Regexp(t, `^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`, first.RequestID)
	assert.NotEqual(t, first.RequestID, second.RequestID)

	e.Reset()
	assert.Empty(t, e.Sent())
	assert.NotContains(t, []string{first.BizID, second.BizID}, mustSend(t, e).BizID, "a reset begins no ids again")
}

func TestBizIDsDifferBetweenRuns(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for run := range 10 {
		now := testStart.Add(time.Duration(run) * time.Millisecond)
		s := mustNew(t, Options{Now: func() time.Time { return now }}).store
		for range 1000 {
			id := s.nextBizID()
			require.False(t, seen[id])
			seen[id] = true
		}
	}
}

func TestSendBatchSms(t *testing.T) {
	t.Parallel()
	batch := func(changes ...string) map[string]string {
		return changed(map[string]string{
			"PhoneNumberJson": `["13812345678","85268326366"]`, "SignNameJson": `["阿里云","Shop"]`, "TemplateCode": "SMS_1",
			"TemplateParamJson": `[{"code":"1234"},{"code":"5678"}]`, "OutId": "req-1",
		}, changes)
	}
	many := func(element string) string { return "[" + strings.Repeat(element+",", maxBatch) + element + "]" }
	for _, row := range []struct {
		changes []string
		code    string
	}{
		{nil, "OK"},
		{[]string{"PhoneNumberJson", "-"}, "MissingPhoneNumberJson"},
		{[]string{"SignNameJson", "-"}, "MissingSignNameJson"},
		{[]string{"TemplateCode", "-"}, "MissingTemplateCode"},
		{[]string{"TemplateParamJson", "-"}, codeParamMissing},
		{[]string{"PhoneNumberJson", "13812345678,85268326366"}, codeParamNotJSON},
		{[]string{"PhoneNumberJson", "[]"}, codeInvalid},
		{[]string{"PhoneNumberJson", `["13812345678"]`}, codeInvalid},
		{[]string{"SignNameJson", `["阿里云"]`}, codeInvalid},
		{[]string{"TemplateParamJson", `[{"code":"1234"}]`}, codeInvalid},
		{[]string{"TemplateParamJson", `[{"code":"1234"},{"code":5678}]`}, codeParamNotJSON},
		{[]string{"TemplateParamJson", `[{"code":"1234"},{"code":"5"}]`}, "isv.TEMPLATE_PARAMS_ILLEGAL"},
		{[]string{"PhoneNumberJson", `["13812345678","138"]`}, codeNumberIllegal},
		{[]string{
			"PhoneNumberJson", many(`"13812345678"`), "SignNameJson", many(`"a"`), "TemplateParamJson", many(`{"code":"1234"}`),
		}, "isv.MOBILE_COUNT_OVER_LIMIT"},
	} {
		e, _ := newTest(t, Options{})
		got := do(t, e, gateway.ActionSendBatchSms, batch(row.changes...))
		assert.Equal(t, row.code, got.Code, "%v", row.changes)
		var sent []string
		for _, s := range e.Sent() {
			sent = append(sent, s.Phone+" "+s.SignName+" "+s.Code+" "+s.BizID)
		}
		if row.code == "OK" {
			assert.Equal(t, []string{"13812345678 阿里云 1234 " + got.BizID, "85268326366 Shop 5678 " + got.BizID}, sent)
		} else {
			assert.Empty(t, sent)
		}
	}
	e, _ := newTest(t, Options{
		SignNames: []string{"阿里云"}, Faults: []string{"accept_drop,action=SendBatchSms,phone=85268326366"},
	})
	assert.Equal(t, "isv.SMS_SIGNATURE_ILLEGAL", do(t, e, gateway.ActionSendBatchSms, batch()).Code, "each signature is checked")
	assert.Panics(t, func() { do(t, e, gateway.ActionSendBatchSms, batch("SignNameJson", `["阿里云","阿里云"]`)) }, "it is dropped")
	assert.Len(t, e.Sent(), 2)
}

func TestMaxQPS(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{MaxQPS: 3})
	for range 3 {
		mustSend(t, e)
	}
	for range 2 {
		got := do(t, e, gateway.ActionSendSms, sending())
		assert.Equal(t, "Throttling.User", got.Code)
		assert.Equal(t, http.StatusBadRequest, got.Status)
	}
	assert.Equal(t, "OK", do(t, e, gateway.ActionQuerySendDetails, looking()).Code, "look-ups have their own budget")
	c.Move(time.Second)
	mustSend(t, e)
	assert.Equal(t, int64(2), e.Stats().Throttled)
	assert.Len(t, e.Sent(), 4)
}

func FuzzTemplateParam(f *testing.F) {
	for _, seed := range []string{`{"code":"1234"}`, `{"code":"1234","code":5}`, `null`, `{"code":"１２"}`, `{"a":{}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, param string) {
		if checkParam(param, template{}) != nil {
			return
		}
		m := &message{param: param}
		if code := m.sent().Code; !isPasscode(code) {
			t.Fatalf("%q passed with the code %q", param, code)
		}
	})
}
