//! LiteLLM's keys that Trunkline does not serve, each with what is said about it at start.

/// Names of keys and what is said about them.
type Table = &'static [(&'static [&'static str], &'static str)];

/// Keys by which a file is known to be LiteLLM's.
pub(crate) const MARKS: &[&str] = &[
    "model_list",
    "litellm_settings",
    "mcp_servers",
    "general_settings",
    "litellm_logging",
    "virtual_keys",
    "mcp_aliases",
    "router_settings",
];

/// What is said about a key that is in no table.
pub(crate) const UNKNOWN: &str = "unknown to LiteLLM as well; it has no meaning here";

const MODELS: &str = "models are not served by this version, only MCP is; it has no meaning here";
const DATABASE: &str = "this version keeps nothing in a database: the keys are those of this file";
const OUTSIDE: &str = "this version sends nothing to callbacks; its logs are on standard error";
const CACHE: &str = "this version caches no answers";
const UNENFORCED: &str = "NOT enforced by this version";
const OAUTH: &str = "OAuth with an upstream is not served by this version; it is asked without that";

/// Keys at the top.
pub(crate) const TOP: Table = &[
    (&["router_settings", "credential_list", "fallbacks"], MODELS),
    (&["finetune_settings", "files_settings", "assistant_settings", "batch_settings"], MODELS),
    (&["vector_store_registry", "search_tools", "prompts", "agents", "agent_list"], MODELS),
    (
        &["litellm_logging"],
        "unknown to LiteLLM as well (there it is litellm_settings.success_callback); this version sends nothing to callbacks",
    ),
    (&["callback_settings", "audit_log_callbacks"], OUTSIDE),
    (&["environment_variables"], "not read: set these variables in the environment of this process"),
    (&["include"], "not read: put what these files say into this one"),
    (&["guardrails", "policies", "policy_attachments"], "NOT applied: this version has no guardrails"),
    (&["mcp_tools", "pass_through_endpoints"], "not served by this version"),
    (&["worker_registry", "alerting"], "it has no meaning here"),
];

/// Keys of `general_settings`.
pub(crate) const GENERAL: Table = &[
    (
        &["custom_auth"],
        "not asked by this version: the master key and the keys of this file go on working, every other key is refused",
    ),
    (
        &[
            "enable_jwt_auth",
            "litellm_jwtauth",
            "enable_oauth2_auth",
            "enable_oauth2_proxy_auth",
            "oauth2_config_mappings",
            "custom_sso",
            "custom_auth_run_common_checks",
            "allow_user_auth",
        ],
        "not asked by this version: only the master key and the keys of this file are let in",
    ),
    (
        &["litellm_key_header_name", "mcp_client_side_auth_header_name"],
        "not read: keys come as `Authorization: Bearer` or `x-litellm-api-key`",
    ),
    (
        &[
            "database_url",
            "database_connection_pool_limit",
            "database_connection_timeout",
            "store_model_in_db",
            "supported_db_objects",
            "allow_requests_on_db_unavailable",
            "disable_prisma_schema_update",
            "use_redis_transaction_buffer",
            "disable_adding_master_key_hash_to_db",
        ],
        DATABASE,
    ),
    (&["database_type"], "without effect in LiteLLM as well; this version keeps nothing in a database"),
    (
        &["allowed_ips", "mcp_internal_ip_ranges", "mcp_allowed_clients", "require_key_mcp_access_defined"],
        "NOT enforced by this version: restrict who can reach it by the network, and keys by `aliases` and `tools`",
    ),
    (
        &[
            "max_parallel_requests",
            "global_max_parallel_requests",
            "enforce_user_param",
            "enforced_params",
            "disable_retry_on_max_parallel_request_limit_error",
            "max_response_size_mb",
            "mcp_disabled_capabilities",
            "key_generation_settings",
            "default_team_disabled",
            "default_team_settings",
        ],
        UNENFORCED,
    ),
    (
        &["allowed_routes", "public_routes", "admin_only_routes", "pass_through_endpoints", "ui_access_mode"],
        "the routes of this version are fixed; it has no meaning here",
    ),
    (
        &[
            "key_management_system",
            "key_management_settings",
            "use_google_kms",
            "use_azure_key_vault",
            "custom_key_generate",
            "user_api_key_cache_ttl",
            "service_account_settings",
        ],
        "not used: keys come from this file, its variables and their `_FILE`s",
    ),
    (&["mcp_advertised_versions"], "every version of MCP that this gateway speaks is offered"),
    (&["use_x_forwarded_for"], "not read by this version"),
    (&["dangerously_permit_weak_or_unset_master_key"], "without a key this gateway listens on loopback only"),
    (&["user_mcp_management_mode"], "this version has no management by HTTP"),
    (
        &[
            "alerting",
            "alerting_threshold",
            "alert_types",
            "alerting_args",
            "alert_to_webhook_url",
            "spend_report_frequency",
            "background_health_checks",
            "health_check_interval",
            "health_check_details",
        ],
        "this version alerts nobody; the state of the upstreams is at /health and in its logs",
    ),
    (
        &[
            "disable_spend_logs",
            "disable_spend_updates",
            "disable_reset_budget",
            "proxy_batch_write_at",
            "proxy_batch_polling_interval",
            "proxy_budget_rescheduler_min_time",
            "proxy_budget_rescheduler_max_time",
            "maximum_spend_logs_retention_period",
            "maximum_spend_logs_retention_interval",
            "store_prompts_in_spend_logs",
            "disable_master_key_return",
        ],
        "this version counts no spending; it has no meaning here",
    ),
    (
        &[
            "completion_model",
            "image_generation_model",
            "embedding_model",
            "moderation_model",
            "infer_model_from_keys",
            "forward_openai_org_id",
            "forward_client_headers_to_llm_api",
            "allow_client_side_credentials",
            "use_client_credentials_pass_through_routes",
            "disable_responses_id_security",
            "reject_clientside_metadata_tags",
        ],
        MODELS,
    ),
    (&["litellm_license"], "there is nothing to license here"),
];

/// Keys of `litellm_settings`. LiteLLM takes any other key there as a setting of its library.
pub(crate) const LIBRARY: Table = &[
    (&["database_url"], DATABASE),
    (&["cache", "cache_params", "disable_copilot_system_to_assistant"], CACHE),
    (
        &[
            "success_callback",
            "failure_callback",
            "callbacks",
            "service_callbacks",
            "input_callback",
            "audit_log_callbacks",
        ],
        OUTSIDE,
    ),
    (&["require_auth_for_metrics_endpoint"], "this version has no metrics yet"),
    (&["mcp_semantic_tool_filter"], "not applied: every tool that a key may use is listed"),
    (&["set_verbose"], "not read: start with --debug, or set log.filter in trunkline.yaml"),
    (&["guardrails"], "NOT applied: this version has no guardrails"),
    (&["max_budget", "budget_duration", "max_user_budget", "upperbound_key_generate_params"], UNENFORCED),
];

/// What is said about every other key of `litellm_settings`.
pub(crate) const OTHER_LIBRARY: &str = "a setting of LiteLLM's calls of models; it has no meaning here";

/// Keys of one of `mcp_servers`.
pub(crate) const SERVER: Table = &[
    (&["protocol_version"], "the version is agreed with the upstream"),
    (&["max_concurrent_requests", "rpm", "tpm"], UNENFORCED),
    (&["server_id", "server_name"], "the alias is the identity here"),
    (
        &["instructions", "mcp_info", "spec_version"],
        "not served by this version; the upstream's own words are passed on",
    ),
    (&["extra_headers"], "headers of clients are not passed on to upstreams by this version"),
    (&["env_vars"], "not read: placeholders are filled from the environment of this process"),
    (
        &[
            "oauth2_flow",
            "client_id",
            "client_secret",
            "authorization_url",
            "token_url",
            "registration_url",
            "issuer",
            "scopes",
            "token_endpoint_auth_method",
            "upstream_resource",
            "token_validation",
            "oauth_identity_binding",
            "token_exchange_profile",
            "token_exchange_endpoint",
            "audience",
            "subject_token_type",
            "dcr_bridge",
            "oauth_passthrough",
            "delegate_auth_to_upstream",
            "is_byok",
            "oauth_delegate",
            "true_passthrough",
            "upstream_token_header",
        ],
        OAUTH,
    ),
    (
        &[
            "aws_region_name",
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
            "aws_service_name",
            "aws_role_name",
            "aws_session_name",
        ],
        "requests are not signed for AWS by this version",
    ),
    (
        &[
            "access_groups",
            "mcp_access_groups",
            "allow_all_keys",
            "available_on_public_internet",
            "allowed_params",
        ],
        "NOT enforced by this version: restrict keys by `aliases` and `tools`",
    ),
    (&["pinned_tools"], "NOT checked by this version: tools are shown as the upstream has them"),
    (
        &["tool_name_to_display_name", "tool_name_to_description"],
        "not applied by this version: tools are shown as the upstream has them",
    ),
    (&["allow_sampling", "allow_elicitation"], "questions of upstreams are not served by this version"),
];

/// Keys of one of `virtual_keys` that take rights away: to pass over them would give a key more than the file says.
pub(crate) const RESTRICTIONS: &[&str] = &[
    "object_permission",
    "permissions",
    "allowed_routes",
    "blocked",
    "expires",
    "duration",
    "mcp_servers",
    "mcp_access_groups",
    "mcp_tool_permissions",
];

/// Keys of one of `virtual_keys` that are not served.
pub(crate) const VIRTUAL_KEY: Table = &[
    (&["models"], "models are not served by this version, only MCP is"),
    (
        &[
            "max_budget",
            "budget_duration",
            "soft_budget",
            "rpm_limit",
            "tpm_limit",
            "max_parallel_requests",
            "mcp_rpm_limit",
        ],
        UNENFORCED,
    ),
    (&["metadata", "team_id", "guardrails", "tags", "spend"], "not used by this version"),
];

/// What a table says about a key.
pub(crate) fn said(table: Table, key: &str) -> Option<&'static str> {
    table.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, text)| *text)
}
