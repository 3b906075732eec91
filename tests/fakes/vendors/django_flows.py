"""An authorization server that we did not write, for each way to log in: django-oauth-toolkit. Run as a script; prints one line of JSON.

Three registrations: `fake-person` (code with PKCE), `fake-device` (device code), `fake-program` (client credentials). Refresh tokens are good once. Every
visitor is logged in as the same user, and approves a code flow at once; a device code is approved on the toolkit's own pages.
"""

import json
import sys
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

USER = "ann@example.com"
SECRET = "fake-program-secret"

settings.configure(
    SECRET_KEY="fake-key-of-a-test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[f"{__name__}.everybody_is_ann"],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    OAUTH2_PROVIDER={
        "PKCE_REQUIRED": True,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
        "ALLOW_LOCALHOST_LOOPBACK": True,
        "DEVICE_FLOW_INTERVAL": 1,
        "OAUTH_DEVICE_VERIFICATION_URI": "http://127.0.0.1/o/device/",
        "SCOPES": {"email": "your address", "read": "what you have"},
        "DEFAULT_SCOPES": ["email"],
    },
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402


def everybody_is_ann(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.user = get_user_model().objects.get(username=USER)
        request._dont_enforce_csrf_checks = True
        return answer(request)

    return middleware


@protected_resource(scopes=["email"])
def userinfo(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"sub": "1", "email": USER})


@protected_resource(scopes=["read"])
def things(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"things": []})


urlpatterns = [path("o/", include("oauth2_provider.urls")), path("userinfo", userinfo), path("things", things)]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        pass


def main() -> None:
    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user(USER)
    model = get_application_model()
    for client_id, grant, more in (
        ("fake-person", model.GRANT_AUTHORIZATION_CODE, {"redirect_uris": "http://localhost/callback"}),
        ("fake-device", model.GRANT_DEVICE_CODE, {}),
        ("fake-program", model.GRANT_CLIENT_CREDENTIALS, {"client_secret": SECRET}),
    ):
        kind = model.CLIENT_CONFIDENTIAL if more.get("client_secret") else model.CLIENT_PUBLIC
        model.objects.create(
            client_id=client_id,
            user=user,
            client_type=kind,
            authorization_grant_type=grant,
            skip_authorization=True,
            **more,
        )
    from django.core.wsgi import get_wsgi_application

    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}) + "\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
