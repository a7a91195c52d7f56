"""stub"""


def pages():
    return {}


def notes(number):
    return {}
