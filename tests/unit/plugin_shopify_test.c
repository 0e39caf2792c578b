/* SPDX-License-Identifier: Apache-2.0 */
/* The shopify plugin on the fake host: all pages, an empty shop, values, errors. */
#include "plugin_run.h"

#define NEXT "https://s.example.com/admin/api/2023-04/orders.json?limit=2&page_info=abc"

static const char FIRST[] =
	"{'orders':[{'id':820982911946154508,'name':'#1001','landing_site':"
	"'/?utm_source=ig&utm_campaign=a%20b+c&x=1#utm_no','fulfillments':[{'status':'success'}],"
	"'line_items':[{'vendor':'V'}],'total_price':'10.00'},{'id':2,'landing_site':null,'fulfillments':[]}]"
	"}";

static void all_pages(void **state)
{
	const struct fake_answer answers[] = {
		{"orders", NULL, 200, FIRST,
		 "Link: <https://s.example.com/prev>; rel=\"previous\", <" NEXT ">; rel=\"next\""},
		{"orders", NULL, 200, "{'orders':[{'id':3,'landing_site':'/'}]}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_orders_by_store",
			"{'store':'s.example.com','limit':2,'updated_at_min':'2023-01-01T00:00:00'}");

	(void)state;
	assert_has(out, "'url':'https://s.example.com/admin/api/2023-04/orders.json?status=any&limit=2&"
			"updated_at_min=2023-01-01T00%3A00%3A00'");
	assert_has(out, "'url':'" NEXT "'");
	assert_times(out, "{'upsert':'order'", 3);
	assert_times(out, "{'event':'order_log_events'", 3);
	assert_has(out, "'source':'shopify','platform':'SHOPIFY','platform_order_id':'820982911946154508',"
			"'store':'s.example.com'");
	assert_has(out, "'metrics':{},'dimensions':{'platform_order_id':'820982911946154508','name':'#1001','"
			"status':'success'");
	assert_has(out, "'order_data':{'id':820982911946154508,");
	assert_has(out, "'utm_params':'{\\'source\\':\\'ig\\',\\'campaign\\':\\'a b c\\'}'");
	assert_has(out, "'utm_params':'{}'");
	assert_has(out, "'store_name':'V'");
	assert_has(out, "{'result':{'orders':3}}");
	mem_release(out);
}

static void no_orders(void **state)
{
	const struct fake_answer answers[] = {{"orders", NULL, 200, "{'orders':[]}", NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_orders_by_store", "{'store':'s.example.com'}");

	(void)state;
	assert_has(out, "status=any&limit=250'");
	assert_has(out, "{'result':{'orders':0}}");
	mem_release(out);
}

static void expect(int status, const char *body, const char *headers, const char *want)
{
	const struct fake_answer answers[] = {{"orders", NULL, status, body, headers},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_orders_by_store", "{'store':'s.example.com'}");

	assert_has(out, want);
	mem_release(out);
}

static void errors(void **state)
{
	char *out = run(NULL, NULL, "refresh_orders_by_store", "{'store':'s.example.com','limit':251}");

	(void)state;
	assert_has(out, "{'error':");
	mem_release(out);
	expect(404, "{'errors':'Not Found'}", NULL, "{'failure':'gone','text':'(404, ");
	expect(402, "{'errors':{'base':['frozen']}}", NULL, "frozen");
	expect(200, "{'orders':[{'id':1}]}", "Link: <https://evil.example.net/orders.json>; rel=\"next\"",
	       "{'failure':'fail'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pages),
		cmocka_unit_test(no_orders),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
