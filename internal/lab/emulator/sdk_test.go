package emulator

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// httpClient lets the SDK use a client whose connections the test can close.
type httpClient struct{ client *http.Client }

func (h httpClient) Call(r *http.Request, _ *http.Transport) (*http.Response, error) {
	return h.client.Do(r)
}

// newSDK returns Aliyun's own Go client of an emulator.
func newSDK(t *testing.T, opts Options, config *openapi.Config) (*dysmsapi.Client, *Emulator) {
	t.Helper()
	opts.Now = time.Now // the SDK signs at its own time
	w := newWire(t, opts)
	config.Endpoint, config.Protocol = tea.String(w.url.Host), tea.String("HTTP")
	config.HttpClient = httpClient{w.client}
	client, err := dysmsapi.NewClient(config)
	require.NoError(t, err)
	return client, w.e
}

func defaultKey() *openapi.Config {
	return &openapi.Config{AccessKeyId: tea.String(DefaultAccessKeyID), AccessKeySecret: tea.String(DefaultAccessKeySecret)}
}

func sdkSend(outID string) *dysmsapi.SendSmsRequest {
	return &dysmsapi.SendSmsRequest{
		PhoneNumbers: tea.String("13812345678"), SignName: tea.String("阿里云 *~+/"), TemplateCode: tea.String("SMS_1"),
		TemplateParam: tea.String(`{"code":"0042"}`), OutId: tea.String(outID),
	}
}

func TestSDKSendsAndLooksUp(t *testing.T) {
	t.Parallel()
	sdk, e := newSDK(t, Options{}, defaultKey())
	resp, err := sdk.SendSmsWithOptions(sdkSend("req-1"), &util.RuntimeOptions{})
	require.NoError(t, err)
	assert.Equal(t, "OK", tea.StringValue(resp.Body.Code))
	assert.NotEmpty(t, tea.StringValue(resp.Body.RequestId))
	sent := e.Sent()
	require.Len(t, sent, 1)
	assert.Equal(t, sent[0].BizID, tea.StringValue(resp.Body.BizId))
	assert.Equal(t, "0042", sent[0].Code)
	assert.Equal(t, "阿里云 *~+/", sent[0].SignName)

	found, err := sdk.QuerySendDetailsWithOptions(&dysmsapi.QuerySendDetailsRequest{
		PhoneNumber: tea.String("13812345678"), SendDate: tea.String(sent[0].At.In(serviceZone).Format("20060102")),
		PageSize: tea.Int64(50), CurrentPage: tea.Int64(1),
	}, &util.RuntimeOptions{})
	require.NoError(t, err)
	assert.Equal(t, "OK", tea.StringValue(found.Body.Code))
	assert.Equal(t, "1", tea.StringValue(found.Body.TotalCount), "the SDK reads a number, too")
	require.Len(t, found.Body.SmsSendDetailDTOs.SmsSendDetailDTO, 1)
	row := found.Body.SmsSendDetailDTOs.SmsSendDetailDTO[0]
	assert.Equal(t, "req-1", tea.StringValue(row.OutId))
	assert.Equal(t, int64(3), tea.Int64Value(row.SendStatus))
	assert.Equal(t, "13812345678", tea.StringValue(row.PhoneNum))
	assert.Contains(t, tea.StringValue(row.Content), "0042")
}

func TestSDKAsksForApproval(t *testing.T) {
	t.Parallel()
	sdk, _ := newSDK(t, Options{SignNames: []string{"Shop"}, Templates: []string{"SMS_1"}}, defaultKey())
	for name, want := range map[string]int32{"Shop": 1, "other": 2} {
		sign, err := sdk.QuerySmsSign(&dysmsapi.QuerySmsSignRequest{SignName: tea.String(name)})
		require.NoError(t, err)
		assert.Equal(t, want, tea.Int32Value(sign.Body.SignStatus))
	}
	template, err := sdk.QuerySmsTemplate(&dysmsapi.QuerySmsTemplateRequest{TemplateCode: tea.String("SMS_1")})
	require.NoError(t, err)
	assert.Equal(t, int32(1), tea.Int32Value(template.Body.TemplateStatus))
	assert.Equal(t, int32(0), tea.Int32Value(template.Body.TemplateType))
}

func TestSDKSendsABatch(t *testing.T) {
	t.Parallel()
	sdk, e := newSDK(t, Options{}, defaultKey())
	resp, err := sdk.SendBatchSms(&dysmsapi.SendBatchSmsRequest{
		PhoneNumberJson: tea.String(`["13812345678","13912345678"]`), SignNameJson: tea.String(`["Shop","Shop"]`),
		TemplateCode: tea.String("SMS_1"), TemplateParamJson: tea.String(`[{"code":"1234"},{"code":"5678"}]`),
	})
	require.NoError(t, err)
	assert.NotEmpty(t, tea.StringValue(resp.Body.BizId))
	assert.Len(t, e.Sent(), 2)
}

func TestSDKLists(t *testing.T) {
	t.Parallel()
	sdk, _ := newSDK(t, Options{SignNames: []string{"Shop"}, Templates: []string{"SMS_1:code=promotion"}}, defaultKey())
	signs, err := sdk.QuerySmsSignList(&dysmsapi.QuerySmsSignListRequest{PageIndex: tea.Int32(1), PageSize: tea.Int32(50)})
	require.NoError(t, err)
	assert.Equal(t, int64(1), tea.Int64Value(signs.Body.TotalCount))
	require.Len(t, signs.Body.SmsSignList, 1)
	assert.Equal(t, "Shop", tea.StringValue(signs.Body.SmsSignList[0].SignName))
	templates, err := sdk.QuerySmsTemplateList(&dysmsapi.QuerySmsTemplateListRequest{})
	require.NoError(t, err)
	require.Len(t, templates.Body.SmsTemplateList, 1)
	assert.Equal(t, "SMS_1", tea.StringValue(templates.Body.SmsTemplateList[0].TemplateCode))
	assert.Equal(t, int32(2), tea.Int32Value(templates.Body.SmsTemplateList[0].OuterTemplateType))
}

// TestSDKsGenericCall reaches the actions that this version of the SDK does not have.
func TestSDKsGenericCall(t *testing.T) {
	t.Parallel()
	sdk, _ := newSDK(t, Options{Filings: []string{"mobile=0:SIGNATURE_ERROR"}}, defaultKey())
	call := func(action, name, value string) map[string]any {
		body, err := sdk.CallApi(&openapi.Params{
			Action: tea.String(action), Version: tea.String("2017-05-25"), Protocol: tea.String("HTTP"), Pathname: tea.String("/"),
			Method: tea.String("POST"), AuthType: tea.String("AK"), Style: tea.String("RPC"),
			ReqBodyType: tea.String("formData"), BodyType: tea.String("json"),
		}, &openapi.OpenApiRequest{Query: map[string]*string{name: tea.String(value)}}, &util.RuntimeOptions{})
		require.NoError(t, err)
		return body["body"].(map[string]any)
	}
	sign := call("GetSmsSign", "SignName", "Shop")
	assert.Equal(t, json.Number("1"), sign["SignStatus"])
	mobile := sign["SignIspRegisterDetailList"].([]any)[0].(map[string]any)
	assert.Equal(t, json.Number("0"), mobile["RegisterStatus"])
	assert.Equal(t, "SIGNATURE_ERROR", mobile["RegisterStatusReasons"].([]any)[0].(map[string]any)["ReasonCode"])
	assert.Equal(t, "1", call("GetSmsTemplate", "TemplateCode", "SMS_1")["TemplateStatus"])
}

func TestSDKWithTemporaryCredentials(t *testing.T) {
	t.Parallel()
	config := defaultKey()
	config.SecurityToken = tea.String("a token/with+signs=")
	config.Type = tea.String("sts")
	sdk, e := newSDK(t, Options{}, config)
	resp, err := sdk.SendSms(sdkSend("req-1"))
	require.NoError(t, err)
	assert.Equal(t, "OK", tea.StringValue(resp.Body.Code), tea.StringValue(resp.Body.Message))
	assert.Len(t, e.Sent(), 1)
}

// TestSDKSeesFaults: how each answer surfaces in the SDK.
func TestSDKSeesFaults(t *testing.T) {
	t.Parallel()
	sdkError := func(code string, status int) func(*testing.T, *dysmsapi.SendSmsResponse, error) {
		return func(t *testing.T, _ *dysmsapi.SendSmsResponse, err error) {
			var got *tea.SDKError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, code, tea.StringValue(got.Code))
			assert.Equal(t, status, tea.IntValue(got.StatusCode))
		}
	}
	for spec, check := range map[string]func(*testing.T, *dysmsapi.SendSmsResponse, error){
		"code=isv.BUSINESS_LIMIT_CONTROL,message=" + hourMessage: func(t *testing.T, resp *dysmsapi.SendSmsResponse, err error) {
			require.NoError(t, err)
			assert.Equal(t, "isv.BUSINESS_LIMIT_CONTROL", tea.StringValue(resp.Body.Code))
			assert.Equal(t, hourMessage, tea.StringValue(resp.Body.Message))
		},
		"throttle":                  sdkError("Throttling.User", 400),
		"code=ServiceUnavailable":   sdkError("ServiceUnavailable", 503),
		"accept_code=InternalError": sdkError("InternalError", 500),
		"html502": func(t *testing.T, _ *dysmsapi.SendSmsResponse, err error) {
			var syntax *json.SyntaxError
			assert.ErrorAs(t, err, &syntax)
		},
		"empty": func(t *testing.T, resp *dysmsapi.SendSmsResponse, err error) {
			require.NoError(t, err)
			assert.Nil(t, resp.Body)
		},
		"garbage": func(t *testing.T, _ *dysmsapi.SendSmsResponse, err error) { assert.Error(t, err) },
		"accept_drop": func(t *testing.T, _ *dysmsapi.SendSmsResponse, err error) {
			assert.ErrorContains(t, err, "EOF")
		},
		"slow,duration=20ms": func(t *testing.T, resp *dysmsapi.SendSmsResponse, err error) {
			require.NoError(t, err)
			assert.NotEmpty(t, tea.StringValue(resp.Body.BizId))
		},
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			sdk, _ := newSDK(t, Options{Faults: []string{spec}}, defaultKey())
			resp, err := sdk.SendSmsWithOptions(sdkSend("req-1"), &util.RuntimeOptions{})
			check(t, resp, err)
		})
	}
}

func TestSDKWithAWrongKey(t *testing.T) {
	t.Parallel()
	for code, change := range map[string]func(*openapi.Config){
		"InvalidAccessKeyId.NotFound": func(c *openapi.Config) { c.AccessKeyId = tea.String("LTAIother") },
		"SignatureDoesNotMatch":       func(c *openapi.Config) { c.AccessKeySecret = tea.String("other") },
	} {
		config := defaultKey()
		change(config)
		sdk, e := newSDK(t, Options{}, config)
		_, err := sdk.SendSms(sdkSend("req-1"))
		var got *tea.SDKError
		require.ErrorAs(t, err, &got)
		assert.Equal(t, code, tea.StringValue(got.Code))
		assert.Empty(t, e.Sent())
	}
}
