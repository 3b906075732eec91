"""An authorization server that we did not write: django-oauth-toolkit, as strict as it can be made. Run as a script; prints one line of JSON.

Code flow with PKCE for one public client, refresh tokens good once, reuse revokes the family, no grace. Every visitor is logged in as the same user
and approves at once. `/witness` tells how many token requests came.
"""

import json
import sys
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

CLIENT_ID = "fake-client"
USER = "ann@example.com"

settings.configure(
    SECRET_KEY="fake-key-of-a-test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[f"{__name__}.everybody_is_ann"],
    OAUTH2_PROVIDER={
        "PKCE_REQUIRED": True,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
        "ALLOW_LOCALHOST_LOOPBACK": True,
        "SCOPES": {"openid": "who you are", "email": "your address"},
    },
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import get_application_model, get_refresh_token_model  # noqa: E402
from oauth2_provider.views import AuthorizationView, RevokeTokenView, TokenView  # noqa: E402

posts = {"authorization_code": 0, "refresh_token": 0}


def everybody_is_ann(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.user = get_user_model().objects.get(username=USER)
        request._dont_enforce_csrf_checks = True
        if request.path == "/o/token/":
            posts[request.POST.get("grant_type", "")] += 1
        return answer(request)

    return middleware


@protected_resource()
def userinfo(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"sub": "1", "email": USER})


def witness(_request: HttpRequest) -> HttpResponse:
    alive = get_refresh_token_model().objects.filter(revoked__isnull=True).count()
    return JsonResponse({"posts": posts, "alive": alive})


urlpatterns = [
    path("o/authorize/", AuthorizationView.as_view()),
    path("o/token/", TokenView.as_view()),
    path("o/revoke_token/", RevokeTokenView.as_view()),
    path("userinfo", userinfo),
    path("witness", witness),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        pass


def main() -> None:
    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user(USER)
    model = get_application_model()
    model.objects.create(
        client_id=CLIENT_ID,
        user=user,
        client_type=model.CLIENT_PUBLIC,
        authorization_grant_type=model.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://localhost/callback",
        skip_authorization=True,
    )
    from django.core.wsgi import get_wsgi_application

    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "client_id": CLIENT_ID}) + "\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
