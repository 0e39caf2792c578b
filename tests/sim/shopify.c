/* SPDX-License-Identifier: Apache-2.0 */
/* Shopify's REST Admin API: orders of a shop, newest first, paged by Link headers. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "pool.h"
#include "sim.h"
#include "template.h"

#define PAGE_DEFAULT 50
#define PAGE_MOST 250

enum hole {
	ID, NUMBER, CREATED, UPDATED, TOTAL, SUBTOTAL, TAX, NAME, TITLE, HEX, STATUS, FULFILLMENTS, CAMPAIGN, SHOP
};

static const char *const hole_names[] = {
	"id", "number", "created", "updated", "total", "subtotal", "tax", "name", "title", "hex", "status",
	"fulfillments", "campaign", "shop", NULL
};

static struct template *order_template;

#define MONEY(name, hole) "'" name "':'@" hole "@','" name "_set':{'shop_money':{'amount':'@" hole "@'," \
	"'currency_code':'INR'},'presentment_money':{'amount':'@" hole "@','currency_code':'INR'}},"
#define ADDRESS "{'first_name':'Sample','address1':'1 Example Street','phone':null,'city':'Pune'," \
	"'zip':'411001','province':'Maharashtra','country':'India','last_name':'Customer'," \
	"'address2':'','company':null,'latitude':18.52,'longitude':73.85," \
	"'name':'Sample Customer','country_code':'IN','province_code':'MH'}"

static const char *const order_source[] = {
	"{'id':@id@,'admin_graphql_api_id':'gid://shopify/Order/@id@','app_id':580111,'browser_ip':'192.0.2.17',"
	"'buyer_accepts_marketing':false,'cancel_reason':null,'cancelled_at':null,'cart_token':'c1-@hex@',"
	"'checkout_id':37@id@,'checkout_token':'@hex@@hex@','client_details':{'accept_language':'en-IN',"
	"'browser_height':null,'browser_ip':'192.0.2.17','browser_width':null,'session_hash':null,'user_agent':"
	"'Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36'},'closed_at':null,'confirmed':true,'contact_email':"
	"'customer@@example.com','created_at':'@created@','currency':'INR',",
	MONEY("current_subtotal_price", "subtotal") MONEY("current_total_price", "total")
	MONEY("current_total_tax", "tax"),
	"'customer_locale':'en-IN','device_id':null,'discount_codes':[],'email':'customer@@example.com',"
	"'estimated_taxes':false,'financial_status':'paid','fulfillment_status':@status@,'landing_site':"
	"'/products/@hex@?utm_source=instagram&utm_medium=influencer&utm_campaign=@campaign@','landing_site_ref':"
	"null,'location_id':null,'name':'#@number@','note':null,'note_attributes':[{'name':'gift','value':'no'}],"
	"'number':@number@,'order_number':@number@,'order_status_url':'https://@shop@.example.com/orders/"
	"@hex@@hex@/authenticate?key=@hex@','payment_gateway_names':['manual'],'phone':null,"
	"'presentment_currency':'INR','processed_at':'@created@','referring_site':'https://l.example.com/',"
	"'source_name':'web',",
	MONEY("subtotal_price", "subtotal") MONEY("total_line_items_price", "subtotal") MONEY("total_price", "total")
	MONEY("total_tax", "tax"),
	"'tags':'sim, web','tax_exempt':false,'tax_lines':[{'price':'@tax@','rate':0.18,'title':'IGST'}],"
	"'taxes_included':true,'test':false,'token':'@hex@@hex@','total_discounts':'0.00','total_outstanding':"
	"'0.00','total_weight':200,'updated_at':'@updated@','user_id':null,'billing_address':" ADDRESS ","
	"'customer':{'id':71@id@,'email':'customer@@example.com','state':'disabled','verified_email':true,"
	"'tags':''},'fulfillments':@fulfillments@,'line_items':[{'id':13@id@,"
	"'admin_graphql_api_id':'gid://shopify/LineItem/"
	"13@id@','fulfillable_quantity':1,'fulfillment_service':'manual','gift_card':false,'grams':200,'name':"
	"'@title@','price':'@subtotal@','product_exists':true,'product_id':81@id@,'properties':[],'quantity':1,"
	"'requires_shipping':true,'sku':'SIM-@number@','taxable':true,'title':'@title@','total_discount':'0.00',"
	"'variant_id':44@id@,'variant_title':null,'vendor':'@name@','tax_lines':[],'duties':[],"
	"'discount_allocations':[]}],'payment_terms':null,'refunds':[],'shipping_address':" ADDRESS ","
	"'shipping_lines':[{'id':45@id@,'code':'Standard','price':'0.00','title':'Standard'}]}", NULL
};

static void put_money(struct buf *out, int64_t cents)
{
	put_int(out, cents / 100);
	buf_addc(out, '.');
	buf_addc(out, (char)('0' + cents / 10 % 10));
	buf_addc(out, (char)('0' + cents % 10));
}

static void put_fulfillments(struct buf *out, const struct order *o)
{
	if (o->hash & 1) {
		buf_adds(out, "[]");
		return;
	}
	buf_adds(out, "[{\"id\":42");
	put_int(out, o->id);
	buf_adds(out, ",\"order_id\":");
	put_int(out, o->id);
	buf_adds(out, ",\"status\":\"success\",\"service\":\"manual\",\"tracking_company\":\"Sample Post\","
		 "\"tracking_number\":null}]");
}

static void fill(struct buf *out, int hole, const void *data)
{
	const struct order *o = data;

	switch (hole) {
	case ID: put_int(out, o->id); break;
	case NUMBER: put_int(out, 1001 + o->id % WORLD_MAX_ITEMS); break;
	case CREATED: put_time(out, o->created_at, "+00:00"); break;
	case UPDATED: put_time(out, o->updated_at, "+00:00"); break;
	case TOTAL: put_money(out, o->cents * 118 / 100); break;
	case SUBTOTAL: put_money(out, o->cents); break;
	case TAX: put_money(out, o->cents * 118 / 100 - o->cents); break;
	case NAME: put_name(out, world_hash(40, o->shop, 0)); break;
	case TITLE: put_title(out, o->hash); break;
	case HEX: put_hex(out, o->hash, 16); break;
	case STATUS: buf_adds(out, o->hash & 1 ? "null" : "\"fulfilled\""); break;
	case FULFILLMENTS: put_fulfillments(out, o); break;
	case CAMPAIGN: put_hex(out, o->hash >> 9, 6); break;
	default:
		buf_adds(out, "shop-");
		put_int(out, o->shop);
	}
}

void shopify_init(void)
{
	order_template = template_new(hole_names, fill, order_source);
}

/* "/shop-1.example.com/admin/api/2023-04/orders.json" -> the shop's name into key; false: another path. */
static bool shop_of_path(struct sim_request *request)
{
	const char *rest = strchr(request->path + 1, '/');
	size_t len;

	if (!rest || !str_starts(rest, "/admin/api/") || !str_ends(rest, "/orders.json"))
		return false;
	len = (size_t)(rest - request->path) - 1;
	if (len >= SIM_TEXT)
		len = SIM_TEXT - 1;
	memcpy(request->key, request->path + 1, len);
	request->key[len] = '\0';
	return true;
}

/* Orders are sorted by time, so the time bounds of the first page are a range of places. */
static void range_find(struct sim_request *request, uint32_t shop, uint32_t orders, uint32_t *from_r,
		       uint32_t *end_r)
{
	const int64_t min = sim_query_time(request, "created_at_min", 0);
	const int64_t max = sim_query_time(request, "created_at_max", INT64_MAX);
	const int64_t updated = sim_query_time(request, "updated_at_min", 0);
	struct order order;

	*from_r = 0;
	*end_r = orders;
	for (uint32_t k = 0; k < orders; k++) {
		order_get(shop, k, &order);
		if (order.created_at > max)
			*from_r = k + 1;
		if ((order.created_at < min || order.updated_at < updated) && *end_r > k)
			*end_r = k;
	}
}

/* The next page's place and end, in one opaque text: two cursors with a dot between. */
static bool page_read(const char *text, uint32_t shop, uint32_t *from_r, uint32_t *end_r)
{
	const char *dot = strchr(text, '.');
	int64_t from, end;

	if (!dot || shop >= WORLD_PROFILES_MAX)
		return false;
	from = cursor_place(text, shop);
	end = cursor_place(dot + 1, shop);
	if (from < 0 || end < from)
		return false;
	*from_r = (uint32_t)from;
	*end_r = (uint32_t)end;
	return true;
}

static void page_link(struct sim_request *request, uint32_t shop, uint32_t from, uint32_t end,
		      unsigned int limit)
{
	char first[WORLD_KEY_SIZE], last[WORLD_KEY_SIZE];
	const char *host = httpd_header_in(request->http, "Host");

	cursor_text(first, shop, from);
	cursor_text(last, shop, end);
	first[15] = last[15] = '\0';
	sim_header(request, "Link", "<http://%s%s?limit=%u&page_info=%s.%s>; rel=\"next\"",
		   host ? host : "localhost", httpd_path(request->http), limit, first, last);
}

void shopify_orders(struct sim_request *request)
{
	const unsigned int limit = sim_query_count(request, "limit", PAGE_DEFAULT, PAGE_MOST);
	const char *token = httpd_header_in(request->http, "X-Shopify-Access-Token");
	uint32_t shop, orders, from, end;
	struct order order;

	request->operation = "orders";
	if (!shop_of_path(request) || !shop_by_name(request->key, &shop, &orders)) {
		sim_fixed(request, 404, "{'errors':'Not Found'}");
		return;
	}
	if (token && str_starts(token, "bad")) {
		sim_fixed(request, 401, "{'errors':'[API] Invalid API key or access token (unrecognized login or wrong "
			  "password)'}");
		return;
	}
	sim_set(request->cursor, sim_query(request, "page_info"));
	if (!request->cursor[0]) {
		range_find(request, shop, orders, &from, &end);
	} else if (!page_read(request->cursor, shop, &from, &end) || sim_query(request, "status")[0]) {
		sim_fixed(request, 400, "{'errors':{'page_info':'Invalid value.'}}");
		return;
	}
	sim_header(request, "X-Shopify-Shop-Api-Call-Limit", "%u/40", 1 + request->key[5] % 20);
	sim_header(request, "X-Shopify-API-Version", "2023-04");
	sim_fixed(request, 200, "{'orders':[");
	for (uint32_t k = from; k < end && k - from < limit; k++) {
		order_get(shop, k, &order);
		if (k > from)
			buf_addc(&request->body, ',');
		template_render(order_template, &request->body, &order);
		sim_served(request, ENTITY_ORDER, entity_number(shop, k));
	}
	buf_adds(&request->body, "]}");
	if (end - from > limit)
		page_link(request, shop, from + limit, end, limit);
}
